"""Where AWS keeps the images of its built-in algorithms: one account per Region, the same for both.

Source: "Docker Registry Paths and Example Code" of the SageMaker Developer Guide.
"""

from aws_cdk import Aws, CfnMapping, CfnRule, CfnRuleAssertion, Fn, Stack, Token

from topx.errors import SettingsRejected

ACCOUNTS = {
    "af-south-1": "455444449433",
    "ap-east-1": "286214385809",
    "ap-northeast-1": "351501993468",
    "ap-northeast-2": "835164637446",
    "ap-northeast-3": "867004704886",
    "ap-south-1": "991648021394",
    "ap-south-2": "628508329040",
    "ap-southeast-1": "475088953585",
    "ap-southeast-2": "712309505854",
    "ap-southeast-3": "951798379941",
    "ap-southeast-4": "106583098589",
    "ca-central-1": "469771592824",
    "ca-west-1": "190319476487",
    "cn-north-1": "390948362332",
    "cn-northwest-1": "387376663083",
    "eu-central-1": "664544806723",
    "eu-central-2": "680994064768",
    "eu-north-1": "669576153137",
    "eu-south-1": "257386234256",
    "eu-south-2": "104374241257",
    "eu-west-1": "438346466558",
    "eu-west-2": "644912444149",
    "eu-west-3": "749696950732",
    "il-central-1": "898809789911",
    "me-central-1": "272398656194",
    "me-south-1": "249704162688",
    "sa-east-1": "855470959533",
    "us-east-1": "382416733822",
    "us-east-2": "404615174143",
    "us-gov-east-1": "237065988967",
    "us-gov-west-1": "226302683700",
    "us-west-1": "632365934929",
    "us-west-2": "174872318107",
}
MISSING = "has no image of Factorization Machines and k-NN; deploy to one of"


class Algorithms:
    """The built-in algorithms as seen from one stack: image addresses and repository ARNs."""

    def __init__(self, stack: Stack) -> None:
        """Looks the account up at synthesis where the Region is known, else at deployment."""
        self._stack = stack
        if not Token.is_unresolved(stack.region):
            self._account = account(stack.region)
            return
        table = {region: {"Account": number} for region, number in ACCOUNTS.items()}
        self._account = CfnMapping(stack, "Algorithms", mapping=table).find_in_map(Aws.REGION, "Account")
        assertion = CfnRuleAssertion(
            assert_=Fn.condition_contains(list(ACCOUNTS), Aws.REGION),
            assert_description=f"This Region {MISSING} {', '.join(ACCOUNTS)}",
        )
        CfnRule(stack, "RegionHasAlgorithms", assertions=[assertion])

    def image(self, name: str) -> str:
        """Address of `factorization-machines` or `knn`; tag 1 is the one version AWS has published."""
        return f"{self._account}.dkr.ecr.{self._stack.region}.{Aws.URL_SUFFIX}/{name}:1"

    def repository(self, name: str) -> str:
        """ARN of the repository that a job role must read."""
        return f"arn:{Aws.PARTITION}:ecr:{self._stack.region}:{self._account}:repository/{name}"


def account(region: str) -> str:
    """The registry account of a Region; raises SettingsRejected where AWS has none."""
    if region not in ACCOUNTS:
        raise SettingsRejected(f"region is {region}, which {MISSING} {', '.join(ACCOUNTS)}")
    return ACCOUNTS[region]
