"""Rights: one statement at a time; on data always folders of this stage's datasets, never a whole bucket."""

from collections.abc import Mapping

from aws_cdk import Aws, Stack
from aws_cdk.aws_iam import IRole, PolicyStatement
from constructs import IConstruct

from infra.data_stack import Data
from infra.nag import accept_wildcards
from topx.paths import Paths, tests, uploads
from topx.settings import Deploy

OWN = "The wildcard stands for run ids, files and versions below names of this stage only."


def allow(
    role: IRole,
    actions: list[str],
    *resources: str,
    when: Mapping[str, Mapping[str, object]] | None = None,
    because: str = OWN,
) -> None:
    """Adds a statement to a role's own policy; `because` answers for the wildcards in its resources."""
    role.add_to_principal_policy(PolicyStatement(actions=actions, resources=list(resources), conditions=when))
    accept_wildcards(role, list(resources), because)


def arn(scope: IConstruct, service: str, name: str) -> str:
    """ARN of something in the stack's own account and Region."""
    stack = Stack.of(scope)
    return f"arn:{Aws.PARTITION}:{service}:{stack.region}:{stack.account}:{name}"


class Rights:
    """Grants on the data of one stage. `things` are what a run holds: `plan.json`, `encoded/*`."""

    def __init__(self, data: Data, deploy: Deploy) -> None:
        self._data, self._datasets = data, deploy.datasets
        self._key, self._ledger = data.key.key_arn, data.ledger.table_arn
        # Exported by name: in a policy of another stack the names are known before the synthesis ends.
        self._runs, self._uploads = (data.export_value(b.bucket_arn) for b in (data.runs, data.uploads))

    def list_runs(self, role: IRole) -> None:
        """Lets the role list the runs of its datasets."""
        self._list(role, "s3:ListBucket", self._runs, [f"runs/{name}/*" for name in self._datasets])

    def read_runs(self, role: IRole, *things: str) -> None:
        """Lets the role get these things of any run."""
        allow(role, ["s3:GetObject"], *self._things(things))
        self._use_key(role, "s3", "kms:Decrypt")

    def write_runs(self, role: IRole, *things: str) -> None:
        """Lets the role put these things of any run, each in one request."""
        allow(role, ["s3:PutObject"], *self._things(things))
        self._use_key(role, "s3", "kms:GenerateDataKey")

    def write_large(self, role: IRole, *things: str) -> None:
        """The same for files that grow with the ratings: to put parts together S3 also decrypts."""
        self.write_runs(role, *things)
        allow(role, ["s3:AbortMultipartUpload"], *self._things(things))
        self._use_key(role, "s3", "kms:Decrypt")

    def list_uploads(self, role: IRole) -> None:
        """Lets the role list the versions of training and test files."""
        self._list(role, "s3:ListBucketVersions", self._uploads, self._files())

    def read_uploads(self, role: IRole) -> None:
        """Lets the role get training and test files by their versions, which a plan pins."""
        objects = [f"{self._uploads}/{file}" for file in self._files()]
        allow(role, ["s3:GetObjectVersion"], *objects)
        self._use_key(role, "s3", "kms:Decrypt")

    def read_ledger(self, role: IRole) -> None:
        """Lets the role get the ledger's items."""
        allow(role, ["dynamodb:GetItem"], self._ledger)
        self._use_key(role, "dynamodb", "kms:Decrypt", "kms:DescribeKey")

    def write_ledger(self, role: IRole) -> None:
        """Lets the role get and update the ledger's items."""
        allow(role, ["dynamodb:GetItem", "dynamodb:UpdateItem"], self._ledger)
        again = ["kms:ReEncryptFrom", "kms:ReEncryptTo"]
        self._use_key(
            role, "dynamodb", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", *again
        )

    def notify(self, role: IRole, topic: str) -> None:
        """Lets the role publish to a topic under the key."""
        allow(role, ["sns:Publish"], topic)
        self._use_key(role, "sns", "kms:Decrypt", "kms:GenerateDataKey")

    def encrypt_volumes(self, role: IRole) -> None:
        """Lets SageMaker use the key for disks and output of a job that runs under this role."""
        allow(role, ["kms:Encrypt", "kms:DescribeKey"], self._key)
        only = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
        allow(role, ["kms:CreateGrant"], self._key, when=only)

    def _files(self) -> list[str]:
        return [f"{prefix(name)}*" for name in self._datasets for prefix in (uploads, tests)]

    def _things(self, things: tuple[str, ...]) -> list[str]:
        return [f"{self._runs}/{Paths(name, '*').prefix}{thing}" for name in self._datasets for thing in things]

    def _list(self, role: IRole, action: str, bucket: str, patterns: list[str]) -> None:
        allow(role, [action], bucket, when={"StringLike": {"s3:prefix": patterns}})

    def _use_key(self, role: IRole, service: str, *actions: str) -> None:
        via = {"StringEquals": {"kms:ViaService": f"{service}.{Aws.REGION}.{Aws.URL_SUFFIX}"}}
        allow(role, list(actions), self._key, when=via)
