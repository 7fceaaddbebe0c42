"""One stage: its two stacks in one app, checked by AWS's own security rules."""

from typing import Any

from aws_cdk import Annotations, App, Environment, Validations
from cdk_nag import AwsSolutionsChecks

from infra.data_stack import Data
from infra.pipeline_stack import Pipeline
from topx.settings import Deploy


def draw(deploy: Deploy, *, outdir: str, context: dict[str, Any]) -> App:
    """The app of a stage, to be synthesized; a finding of cdk-nag without a reason fails the synthesis."""
    app = App(outdir=outdir, context=context, analytics_reporting=False)
    common: dict[str, Any] = {
        "deploy": deploy,
        "env": Environment(region=deploy.region),
        "termination_protection": deploy.termination_protection,
        "tags": {"application": "topx", "stage": deploy.stage},  # CloudFormation hands them down
    }
    data = Data(app, f"topx-{deploy.stage}-data", **common)
    Pipeline(app, f"topx-{deploy.stage}-pipeline", data=data, **common)
    Annotations.of(app).acknowledge_warning(
        "@aws-cdk/aws-lambda:codeFromBucketObjectVersionNotSpecified",
        "the object's key is a hash of its content",
    )
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return app
