"""The SageMaker jobs: one builder each, from plan to state, and the role that only this job has.

Paths follow the contract of the states before: `$.plan` of Preflight, `$.encoded` of Encode.
"""

import re
from typing import Any

from aws_cdk import Aws, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk.aws_ecr_assets import DockerImageAsset
from constructs import Construct

from infra.data_stack import Data
from infra.images import Algorithms
from infra.job_roles import JobRoles
from infra.retries import retry_job
from infra.rights import Rights
from topx.settings import Deploy

RECORDS = "application/x-recordio-protobuf"
LONGEST = 432_000 + 3600  # the most that any max_runtime_seconds can be, and an hour to find machines
WORK = "/opt/ml/processing"
DISKLESS = re.compile(r"ml\.(?:[mr][4-8]i?|c[4-8][in]?|t3)\.")  # families without disks of their own


class Jobs(Construct):
    """The states that run on SageMaker, under `roles`."""

    def __init__(
        self, scope: Construct, id_: str, *, deploy: Deploy, data: Data, image: DockerImageAsset, rights: Rights
    ) -> None:
        super().__init__(scope, id_)
        self._deploy, self._key, self._image = deploy, data.key.key_arn, image
        self._algorithms = Algorithms(Stack.of(self))
        self.roles = JobRoles(self, "Roles", rights=rights, image=image, algorithms=self._algorithms)

    def train_factors(self) -> sfn.CustomState:
        """Shards -> `$.factors`: the factorization machine."""
        return self._train(
            "TrainFactors",
            "train_factors",
            noun="factors",
            image="factorization-machines",
            role=self.roles.train_factors,
            more={"EnableInterContainerTrafficEncryption": True},  # several machines exchange weights
            count={"InstanceCount.$": "$.plan.run.train_factors.instance_count"},
        )

    def repackage(self) -> sfn.CustomState:
        """Artifact and vocabulary -> `$.matrices`: item and user matrix."""
        parameters = {
            "ProcessingJobName.$": self._name("matrices"),
            "AppSpecification": {
                "ImageUri": self._image.image_uri,
                "ContainerEntrypoint": ["python", "-m", "containers.repackage.main", "repackage"],
                "ContainerArguments": [
                    *("--input", f"{WORK}/input"),
                    *("--output", f"{WORK}/output"),
                    *("--message", "/opt/ml/output/message"),
                ],
            },
            "ProcessingInputs": [
                _input("plan", "States.Format('{}/plan.json', $.plan.uri)"),
                _input("factors", "$.factors.artifact"),
                _input("encoded", "States.Format('{}/encoded/items.parquet', $.plan.uri)"),
            ],
            "ProcessingOutputConfig": {
                "KmsKeyId": self._key,
                "Outputs": [
                    {
                        "OutputName": "matrices",
                        "S3Output": {
                            "S3Uri.$": _below("matrices"),
                            "LocalPath": f"{WORK}/output/matrices",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ],
            },
            "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, **self._machine("repackage")}},
            "StoppingCondition": _stopping("repackage"),
            "NetworkConfig": {"EnableNetworkIsolation": True},
            "RoleArn": self.roles.repackage.role_arn,
        }
        keep = {"name.$": "$.ProcessingJobName", "status.$": "$.ProcessingJobStatus"}
        return self._state("Repackage", "createProcessingJob.sync", parameters, keep, "matrices")

    def train_neighbors(self) -> sfn.CustomState:
        """Item matrix -> `$.neighbors`: the index."""
        return self._train(
            "TrainNeighbors",
            "train_neighbors",
            noun="neighbors",
            image="knn",
            role=self.roles.train_neighbors,
            more={},
            count={"InstanceCount": 1},  # k-NN builds one index on one machine
        )

    def register_neighbors(self) -> sfn.CustomState:
        """Index -> `$.model`: what the transform loads."""
        parameters = {
            "ModelName.$": self._name("neighbors"),
            "PrimaryContainer": {
                "Image": self._algorithms.image("knn"),
                "ModelDataUrl.$": "$.neighbors.artifact",
            },
            "EnableNetworkIsolation": True,
            "ExecutionRoleArn": self.roles.match_users.role_arn,
        }
        keep = {"name.$": "States.ArrayGetItem(States.StringSplit($.ModelArn, '/'), 1)"}
        return self._state("RegisterNeighbors", "createModel", parameters, keep, "model", longest=60)

    def match_users(self) -> sfn.CustomState:
        """User matrix -> `$.matches`: near items of each user."""
        parameters = {
            "TransformJobName.$": self._name("matches"),
            "ModelName.$": "$.model.name",
            "BatchStrategy": "MultiRecord",
            "MaxPayloadInMB.$": "$.plan.run.match_users.max_payload_mb",
            "TransformInput": {
                "ContentType": RECORDS,
                "SplitType": "RecordIO",
                "CompressionType": "None",
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri.$": _below("matrices/users/")}
                },
            },
            "TransformOutput": {
                "S3OutputPath.$": _below("matches"),
                "Accept": "application/jsonlines; verbose=true",
                "AssembleWith": "Line",
                "KmsKeyId": self._key,
            },
            "TransformResources": {
                "InstanceType.$": "$.plan.run.match_users.instance_type",
                "InstanceCount.$": "$.plan.run.match_users.instance_count",
                **self._volume_key("match_users"),
            },
        }
        keep = {"name.$": "$.TransformJobName", "status.$": "$.TransformJobStatus"}
        # A transform job has no time limit of its own: the state's limit stops it.
        longest = "$.plan.run.match_users.max_runtime_seconds"
        return self._state(
            "MatchUsers", "createTransformJob.sync", parameters, keep, "matches", longest=longest
        )

    def _train(
        self,
        name: str,
        job: str,
        *,
        noun: str,
        image: str,
        role: iam.IRole,
        more: dict[str, Any],
        count: dict[str, Any],
    ) -> sfn.CustomState:
        parameters = {
            "TrainingJobName.$": self._name(noun),
            "AlgorithmSpecification": {
                "TrainingImage": self._algorithms.image(image),
                "TrainingInputMode": "File",
            },
            "HyperParameters.$": f"$.encoded.{noun}.hyperparameters",
            "InputDataConfig.$": f"$.encoded.{noun}.input_data_config",
            "OutputDataConfig": {"S3OutputPath.$": _below(noun), "KmsKeyId": self._key},
            "ResourceConfig": {**count, **self._machine(job)},
            "StoppingCondition": _stopping(job),
            "EnableNetworkIsolation": True,
            **more,
            "RoleArn": role.role_arn,
        }
        keep = {
            "name.$": "$.TrainingJobName",
            "status.$": "$.TrainingJobStatus",
            "reason.$": "$.SecondaryStatus",
            "artifact.$": "$.ModelArtifacts.S3ModelArtifacts",
        }
        return self._state(name, "createTrainingJob.sync", parameters, keep, noun)

    def _state(
        self,
        name: str,
        action: str,
        parameters: dict[str, Any],
        keep: dict[str, str],
        result: str,
        *,
        longest: int | str = LONGEST,
    ) -> sfn.CustomState:
        tags = [
            {"Key": "application", "Value": "topx"},
            {"Key": "stage", "Value": self._deploy.stage},
            {"Key": "dataset", "Value.$": "$.plan.dataset"},
            {"Key": "run_id", "Value.$": "$.plan.run_id"},
        ]
        limit = {"TimeoutSecondsPath" if isinstance(longest, str) else "TimeoutSeconds": longest}
        state = {
            "Type": "Task",
            "Resource": f"arn:{Aws.PARTITION}:states:::sagemaker:{action}",
            "Parameters": {**parameters, "Tags": tags},
            "ResultSelector": keep,
            "ResultPath": f"$.{result}",
            **limit,
        }
        task = sfn.CustomState(self, name, state_json=state)
        retry_job(task)
        return task

    def _name(self, noun: str) -> str:
        """Names are never free again, so a retry and a redrive make new ones; 63 characters at most."""
        counts = "$.plan.run_id, $$.State.RetryCount, $$.Execution.RedriveCount"
        return f"States.Format('topx-{self._deploy.stage}-{noun}-{{}}-{{}}-{{}}', {counts})"

    def _machine(self, job: str) -> dict[str, str]:
        return {
            "InstanceType.$": f"$.plan.run.{job}.instance_type",
            "VolumeSizeInGB.$": f"$.plan.run.{job}.volume_size_gb",
            **self._volume_key(job),
        }

    def _volume_key(self, job: str) -> dict[str, str]:
        """The key of the disk; none where a type brings its own disk, for which SageMaker refuses a key."""
        plain = all(DISKLESS.match(name) for name in self._deploy.instance_types[job])
        return {"VolumeKmsKeyId": self._key} if plain else {}


def _below(noun: str) -> str:
    return f"States.Format('{{}}/{noun}', $.plan.uri)"


def _stopping(job: str) -> dict[str, str]:
    return {"MaxRuntimeInSeconds.$": f"$.plan.run.{job}.max_runtime_seconds"}


def _input(noun: str, uri: str) -> dict[str, Any]:
    return {
        "InputName": noun,
        "S3Input": {
            "S3Uri.$": uri,
            "LocalPath": f"{WORK}/input/{noun}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
            "S3CompressionType": "None",
        },
    }
