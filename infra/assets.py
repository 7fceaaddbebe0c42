"""The zip and the image: two allow-listed views of the repository root. Nothing is built at synthesis."""

from pathlib import Path

from aws_cdk import IgnoreMode
from aws_cdk.aws_ecr_assets import DockerImageAsset, Platform
from aws_cdk.aws_s3_assets import Asset
from constructs import Construct

ROOT = Path(__file__).parent.parent


def only(*folders: str) -> list[str]:
    """Ignore patterns that leave nothing but these folders, without bytecode and hidden files."""
    keep = [pattern for folder in folders for pattern in (f"!{folder}", f"!{folder}/**")]
    return ["*", *keep, "**/__pycache__", "**/*.pyc", "**/.*"]


def code(scope: Construct) -> Asset:
    """The zip of the light functions."""
    keep = only("topx", "lambdas")
    return Asset(scope, "Code", path=str(ROOT), exclude=keep, ignore_mode=IgnoreMode.DOCKER)


def image(scope: Construct) -> DockerImageAsset:
    """The one image: Repackage and the heavy functions, each with its own command."""
    return DockerImageAsset(
        scope,
        "Image",
        directory=str(ROOT),
        file="containers/repackage/Dockerfile",
        exclude=only("topx", "lambdas", "containers/repackage"),
        ignore_mode=IgnoreMode.DOCKER,
        platform=Platform.LINUX_AMD64,
    )
