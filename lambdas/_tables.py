"""The tables of lists, made by imports from S3, and the models beside them. For Publish."""

import gzip
import json
from contextlib import closing
from itertools import islice
from typing import Any

from lambdas import _cloud as cloud


def first_lines(key: str, count: int) -> list[dict[str, Any]]:
    """The first JSON lines of a gzip object in the Runs bucket."""
    with closing(cloud.client("s3").get_object(Bucket=cloud.env("RUNS"), Key=key)["Body"]) as body:
        return [json.loads(line) for line in islice(gzip.open(body, "rt", encoding="utf-8"), count)]


def imports(table_arn: str) -> list[dict[str, Any]]:
    """Every import into a table of this name within 90 days, the newest first."""
    found: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while True:
        page = cloud.client("dynamodb").list_imports(TableArn=table_arn, PageSize=25, **more)
        found += [one for one in page["ImportSummaryList"] if one["TableArn"] == table_arn]
        if not page.get("NextToken"):
            return sorted(found, key=lambda one: one["StartTime"], reverse=True)
        more = {"NextToken": page["NextToken"]}


def import_result(arn: str) -> dict[str, Any]:
    """Status, counts and failure of an import."""
    described: dict[str, Any] = cloud.client("dynamodb").describe_import(ImportArn=arn)[
        "ImportTableDescription"
    ]
    return described


def import_table(table: str, prefix: str, token: str) -> None:
    """Starts the import of a prefix of the Runs bucket as a new table, unless one is under way."""
    database = cloud.client("dynamodb")
    known = database.exceptions
    try:
        database.import_table(
            ClientToken=token,
            S3BucketSource={"S3Bucket": cloud.env("RUNS"), "S3KeyPrefix": prefix},
            InputFormat="DYNAMODB_JSON",
            InputCompressionType="GZIP",
            TableCreationParameters={
                "TableName": table,
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "BillingMode": "PAY_PER_REQUEST",
            },
        )
    except (known.ResourceInUseException, known.ImportConflictException, known.LimitExceededException):
        return  # the table is being made or deleted, or too many are: look again


def tables() -> list[str]:
    """The names of all tables."""
    pages = cloud.client("dynamodb").get_paginator("list_tables").paginate()
    return [name for page in pages for name in page["TableNames"]]


def delete_table(table: str) -> None:
    """Deletes a table; one that is gone, being made or being deleted already is left alone."""
    database = cloud.client("dynamodb")
    try:
        database.delete_table(TableName=table)
    except (database.exceptions.ResourceNotFoundException, database.exceptions.ResourceInUseException):
        return


def models(part: str) -> list[str]:
    """The names of the SageMaker models that contain a text."""
    pages = cloud.client("sagemaker").get_paginator("list_models").paginate(NameContains=part)
    return [one["ModelName"] for page in pages for one in page["Models"]]


def delete_model(name: str) -> None:
    """Deletes a SageMaker model."""
    cloud.client("sagemaker").delete_model(ModelName=name)
