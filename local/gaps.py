"""What moto's CloudFormation leaves out of the resources that it creates, put back in."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from local import moto_seams as moto


def install(stack: ExitStack, created: Callable[[Any], None]) -> None:
    """Completes resources right after moto has created them, until `stack` closes.

    `created` is told of each function.
    """

    def function(made: Any, properties: dict[str, Any]) -> None:
        _function(made, properties)
        created(made)

    for seam, complete in (
        (moto.CREATE_BUCKET, _bucket),
        (moto.CREATE_FUNCTION, function),
        (moto.CREATE_TABLE, _table),
    ):
        moto.put(stack, seam, _completed(seam.original, complete))


def _completed(original: Any, complete: Callable[[Any, dict[str, Any]], None]) -> Any:
    def create(cls: Any, /, name: str, given: Any, account: str, region: str, **more: Any) -> Any:
        resource = original(name, given, account, region, **more)
        complete(resource, given.get("Properties", {}))
        return resource

    return classmethod(create)


def _bucket(bucket: moto.Bucket, properties: dict[str, Any]) -> None:
    bucket.versioning_status = properties.get("VersioningConfiguration", {}).get("Status")
    told = properties.get("NotificationConfiguration", {}).get("EventBridgeConfiguration", {})
    if str(told.get("EventBridgeEnabled")).lower() == "true":
        bucket.set_notification_configuration({"EventBridgeConfiguration": {}})


def _function(function: moto.Function, properties: dict[str, Any]) -> None:
    function.package_type = properties.get("PackageType", "Zip")
    function.image_config = moto.IMAGE_CONFIG(properties.get("ImageConfig", {}))
    function.logging_config = properties.get("LoggingConfig", {})
    function.ephemeral_storage = int(properties.get("EphemeralStorage", {}).get("Size", 512))
    function.dead_letter_target = properties.get("DeadLetterConfig", {}).get("TargetArn")


def _table(table: Any, properties: dict[str, Any]) -> None:
    recovery = properties.get("PointInTimeRecoverySpecification", {})
    if recovery.get("PointInTimeRecoveryEnabled"):
        table.continuous_backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] = "ENABLED"
