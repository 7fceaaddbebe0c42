"""The roles that SageMaker jobs run under: each reads and writes its own nouns only."""

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from aws_cdk.aws_ecr_assets import DockerImageAsset
from constructs import Construct

from infra.images import Algorithms
from infra.rights import Rights, allow, arn

GROUP = ["logs:CreateLogGroup", "logs:DescribeLogStreams"]  # on a log group, with and without :* at the end
STREAMS = ["logs:CreateLogStream", "logs:PutLogEvents"]
PULL = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]


class JobRoles(Construct):
    """One role per job; MatchUsers runs under the role of its model."""

    def __init__(
        self, scope: Construct, id_: str, *, rights: Rights, image: DockerImageAsset, algorithms: Algorithms
    ) -> None:
        super().__init__(scope, id_)
        self._rights = rights
        factors, knn = algorithms.repository("factorization-machines"), algorithms.repository("knn")
        ours = image.repository.repository_arn
        self.train_factors = self._role(
            "TrainFactors",
            "TrainingJobs",
            factors,
            reads=["encoded/train/*", "encoded/test/*"],
            writes="factors/*",
        )
        self.repackage = self._role(
            "Repackage",
            "ProcessingJobs",
            ours,
            reads=["plan.json", "factors/*", "encoded/items.parquet"],
            writes="matrices/*",
        )
        self.train_neighbors = self._role(
            "TrainNeighbors", "TrainingJobs", knn, reads=["matrices/items/*"], writes="neighbors/*"
        )
        self.match_users = self._role(
            "MatchUsers",
            "TransformJobs",
            knn,
            reads=["neighbors/*", "matrices/users/*"],
            writes="matches/*",
        )
        self.all = [self.train_factors, self.repackage, self.train_neighbors, self.match_users]

    def _role(self, name: str, kind: str, repository: str, *, reads: list[str], writes: str) -> iam.Role:
        ours = {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
        role = iam.Role(self, name, assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com", conditions=ours))
        self._rights.list_runs(role)
        self._rights.read_runs(role, *reads)
        self._rights.write_large(role, writes)
        self._rights.encrypt_volumes(role)
        group = arn(self, "logs", f"log-group:/aws/sagemaker/{kind}")
        for actions, resources in ((GROUP, [group, f"{group}:*"]), (STREAMS, [f"{group}:*"])):
            allow(role, actions, *resources, because="SageMaker names the streams of its one group.")
        allow(
            role,
            ["cloudwatch:PutMetricData"],
            "*",
            when={"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}},
            because="Metrics have no resources to name; the condition names their namespace.",
        )
        allow(role, ["ecr:GetAuthorizationToken"], "*", because="A token has no resource to name.")
        allow(role, PULL, repository)
        return role
