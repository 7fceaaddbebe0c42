"""DynamoDB's ImportTable as AWS does it: slow, listed, counted at its end, and never twice under one name."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from local import moto_seams as moto
from local.iam.authorizer import Iam
from local.iam.needs import Call, Refused, Role


def install(iam: Iam, stack: ExitStack) -> None:
    """Replaces moto's answers about imports, until `stack` closes."""
    started: dict[str, tuple[Any, dict[str, Any], datetime]] = {}
    callers: dict[str, Role | None] = {}  # table -> whose rights its import has; the operator's are not asked
    original, run = moto.IMPORT_TABLE.original, moto.RUN_IMPORT.original

    def import_table(self: Any) -> Any:
        parameters = self.body["TableCreationParameters"]
        name = parameters["TableName"]
        for job, request, _ in started.values():
            if job.status == "IN_PROGRESS" and request["TableCreationParameters"]["TableName"] == name:
                if request.get("ClientToken") and request["ClientToken"] == self.body.get("ClientToken"):
                    return _answer(*started[job.arn])
                raise moto.Refusal("ResourceInUseException", f"Table is being imported: {name}")
        if name in self.dynamodb_backend.tables:
            raise moto.Refusal("ResourceInUseException", f"Table already exists: {name}")
        callers[name] = iam.world.role_of(self.access_key, self.headers.get("X-Amz-Security-Token"))
        arn = original(self).result["ImportTableDescription"]["ImportArn"]
        job = self.dynamodb_backend.table_imports[arn]
        started[arn] = (job, self.body, datetime.now(UTC))
        return _answer(
            *started[arn], status="IN_PROGRESS"
        )  # it may be done by now, which nobody would see on AWS

    def describe_import(self: Any) -> Any:
        arn = self.body["ImportArn"]
        if arn not in started:
            raise moto.Refusal("ImportNotFoundException", f"The specified import was not found: {arn}")
        return _answer(*started[arn])

    def list_imports(self: Any) -> Any:
        table = self.body.get("TableArn")
        newest = sorted(started.values(), key=lambda one: one[2], reverse=True)
        summaries = [
            {
                "ImportArn": job.arn,
                "ImportStatus": job.status,
                "TableArn": job.table_arn,
                "S3BucketSource": request["S3BucketSource"],
                "InputFormat": request["InputFormat"],
                "StartTime": start,
            }
            for job, request, start in newest
            if table in (None, job.table_arn)
        ]
        return moto.ANSWER({"ImportSummaryList": summaries})

    def read(self: Any) -> None:
        """S3 is read in the caller's name; what it may not read shows as a failed import only."""
        role, source = callers[self.table_name], self.s3_source
        try:
            if role:
                for call in _reading(iam, source["S3Bucket"], source.get("S3KeyPrefix", "")):
                    iam.may(role, call, via="dynamodb")
        except Refused as error:
            self.status, self.failure_code, self.failure_message = "FAILED", "S3AccessDenied", str(error)
            return
        run(self)

    moto.put(stack, moto.RUN_IMPORT, read)
    moto.put(stack, moto.JSON_LINES, staticmethod(_json_lines))
    moto.put(stack, moto.IMPORT_TABLE, import_table)
    moto.put(stack, moto.DESCRIBE_IMPORT, describe_import)
    moto.put(stack, moto.LIST_IMPORTS, list_imports)


def _reading(iam: Iam, bucket: str, prefix: str) -> Iterator[Call]:
    yield iam.call("s3", "ListObjectsV2", {"Bucket": bucket, "Prefix": prefix})
    for key in iam.world.objects(bucket, prefix):
        yield iam.call("s3", "GetObject", {"Bucket": bucket, "Key": key})


def _json_lines(original: str) -> Iterator[Any]:
    return (json.loads(line) for line in original.split("\n") if line)


def _answer(job: Any, request: dict[str, Any], start: datetime, status: str | None = None) -> Any:
    described = {
        **job.response(),
        "StartTime": start,
        "TableCreationParameters": request["TableCreationParameters"],
    }
    described["ImportStatus"] = status or described["ImportStatus"]
    if described["ImportStatus"] == "IN_PROGRESS":  # AWS counts at the end
        described |= {"ProcessedItemCount": 0, "ProcessedSizeBytes": 0, "ErrorCount": 0, "ImportedItemCount": 0}
    if described["ImportStatus"] == "FAILED" and not described["FailureCode"]:
        described["FailureCode"] = "ItemValidationError"
    return moto.ANSWER({"ImportTableDescription": {key: v for key, v in described.items() if v is not None}})
