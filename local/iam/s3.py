"""Which rights calls of S3 need, keys of KMS included.

S3 API Reference, "Permissions" of each operation; S3 User Guide, "Using server-side encryption with AWS KMS
keys" and "Multipart upload API and permissions".
"""

from collections.abc import Iterator
from urllib.parse import unquote

from local.iam.needs import Call, Context, Need, Rule, anywhere, use_of_key

ACLS = ("ACL", "GrantFullControl", "GrantRead", "GrantReadACP", "GrantWriteACP")


def _bucket(bucket: str) -> str:
    return f"arn:aws:s3:::{bucket}"


def _object(bucket: str, key: str) -> str:
    return f"arn:aws:s3:::{bucket}/{key}"


def _encrypted(bucket: str) -> dict[str, str]:
    """The encryption context of a bucket with a bucket key, which ours all have."""
    return {"aws:s3:arn": _bucket(bucket)}


def _version(version: str | None) -> Context:
    return {"s3:versionid": version} if version else {}


def _get(call: Call) -> Iterator[Need]:
    yield from _got(call, call["Bucket"], call["Key"], call.params.get("VersionId"))


def _got(call: Call, bucket: str, key: str, version: str | None) -> Iterator[Need]:
    action = "GetObjectVersion" if version else "GetObject"
    yield call.need(_object(bucket, key), action, _version(version))
    if not call.world.object_exists(bucket, key, version):
        yield call.need(_bucket(bucket), "ListBucket")  # who may not list is not told that there is nothing
    key_of_kms = call.world.object_key(bucket, key, version)
    yield from use_of_key(key_of_kms, "s3", _encrypted(bucket), "Decrypt")


def _put(call: Call) -> Iterator[Need]:
    arn = _object(call["Bucket"], call["Key"])
    algorithm, key = call.params.get("ServerSideEncryption"), call.params.get("SSEKMSKeyId")
    asked = {
        "s3:x-amz-server-side-encryption": algorithm,
        "s3:x-amz-server-side-encryption-aws-kms-key-id": key,
    }
    yield call.need(arn, "PutObject", {name: value for name, value in asked.items() if value})
    if call.params.get("Tagging"):
        yield call.need(arn, "PutObjectTagging")
    if any(name in call.params for name in ACLS):
        yield call.need(arn, "PutObjectAcl")
    if algorithm != "AES256":
        key = call.world.key(key) if key else call.world.bucket_key(call["Bucket"])
        yield from use_of_key(key, "s3", _encrypted(call["Bucket"]), "GenerateDataKey")


def _part(call: Call) -> Iterator[Need]:
    yield call.need(_object(call["Bucket"], call["Key"]), "PutObject")
    key = call.world.upload_key(call["Bucket"], call["UploadId"])
    yield from use_of_key(key, "s3", _encrypted(call["Bucket"]), "Decrypt", "GenerateDataKey")


def _copy(call: Call) -> Iterator[Need]:
    path, _, version = call["CopySource"].partition("?versionId=")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    yield from _got(call, bucket, key, version or None)
    yield from _put(call)


def _delete(call: Call) -> Iterator[Need]:
    yield _deleted(call, call["Key"], call.params.get("VersionId"))


def _delete_many(call: Call) -> Iterator[Need]:
    for one in call["Delete"]["Objects"]:
        yield _deleted(call, one["Key"], one.get("VersionId"))


def _deleted(call: Call, key: str, version: str | None) -> Need:
    action = "DeleteObjectVersion" if version else "DeleteObject"
    return call.need(_object(call["Bucket"], key), action, _version(version))


def _listing(action: str) -> Rule:
    def rule(call: Call) -> Iterator[Need]:
        names = {"s3:prefix": "Prefix", "s3:delimiter": "Delimiter", "s3:max-keys": "MaxKeys"}
        given = {key: call.params.get(name) for key, name in names.items()}
        asked: Context = {key: str(value) for key, value in given.items() if value is not None}
        yield call.need(_bucket(call["Bucket"]), action, asked)

    return rule


def _of_object(action: str) -> Rule:
    return lambda call: iter([call.need(_object(call["Bucket"], call["Key"]), action)])


def _of_bucket(action: str) -> Rule:
    return lambda call: iter([call.need(_bucket(call["Bucket"]), action)])


S3: dict[str, Rule] = {
    "s3:GetObject": _get,
    "s3:HeadObject": _get,
    "s3:PutObject": _put,
    "s3:CopyObject": _copy,
    "s3:CreateMultipartUpload": _put,
    "s3:UploadPart": _part,
    "s3:CompleteMultipartUpload": _part,
    "s3:AbortMultipartUpload": _of_object("AbortMultipartUpload"),
    "s3:ListParts": _of_object("ListMultipartUploadParts"),
    "s3:DeleteObject": _delete,
    "s3:DeleteObjects": _delete_many,
    "s3:ListObjectsV2": _listing("ListBucket"),
    "s3:ListObjects": _listing("ListBucket"),
    "s3:ListObjectVersions": _listing("ListBucketVersions"),
    "s3:HeadBucket": _of_bucket("ListBucket"),
    "s3:GetBucketLocation": _of_bucket("GetBucketLocation"),
    "s3:ListBuckets": anywhere("ListAllMyBuckets"),
}
