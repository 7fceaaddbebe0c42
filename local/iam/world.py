"""What moto knows that decides about rights: roles and their policies, policies of resources, keys of KMS."""

import json
from typing import Any

from local import moto_seams as moto
from local.iam.needs import Role
from local.iam.policy import IDENTITY, RESOURCE, TRUST, Document
from local.iam.templates import length
from local.moto_seams import ACCOUNT, REGION

OF_AWS = "alias/aws/"  # keys that AWS manages: everybody in the account may use them through their service
DEFAULT_OF_TOPICS = "__default_statement_ID"  # moto's own, which lets everybody


class World:
    """Reads moto's state; holds the policies of buckets, which moto would evaluate without their conditions."""

    def __init__(self) -> None:
        self.policies: dict[str, str] = {}  # ARN of a resource -> text, from templates

    def role_of(self, access_key: str, token: str | None) -> Role | None:
        """Whose credentials these are; None where they are nobody's."""
        for one in moto.SESSIONS[ACCOUNT]["aws"].assumed_roles:
            if one.access_key_id == access_key and one.session_token == token:
                limited = bool(one.policy)
                return Role(arn=one.role_arn, session=one.arn, id=one.user_id, limited=limited)
        return None

    def role(self, arn: str) -> moto.Role | None:
        """The role itself."""
        return next((one for one in moto.IAM[ACCOUNT]["aws"].roles.values() if one.arn == arn), None)

    def of_role(self, arn: str) -> tuple[Document, ...]:
        """The policies of a role: its own and those attached to it."""
        role = self.role(arn)
        if role is None:
            return ()
        texts = [(name, _text(policy)) for name, policy in role.policies.items()]
        for policy in role.managed_policies.values():  # may be called like one of the role's own
            current = (one for one in policy.versions if one.version_id == policy.default_version_id)
            texts.append((policy.name, _text(next(current).document)))
        return tuple(Document(owner=arn, name=name, kind=IDENTITY, text=text) for name, text in sorted(texts))

    def inline_chars(self, name: str) -> int:
        """Characters of a role's own policies, spaces apart."""
        return sum(
            length(json.loads(_text(one))) for one in moto.IAM[ACCOUNT]["aws"].get_role(name).policies.values()
        )

    def managed(self, name: str) -> int:
        """How many policies are attached to a role."""
        return len(moto.IAM[ACCOUNT]["aws"].get_role(name).managed_policies)

    def of_resource(self, arn: str) -> tuple[Document, ...]:
        """The policy of a role, key, queue, topic, function or bucket, if it has one."""
        service, name = arn.split(":")[2], arn.rpartition(":")[2]
        owner, kind = arn, RESOURCE
        text: Any = None
        if service == "iam":
            role, kind = self.role(arn), TRUST
            text = role and _text(role.assume_role_policy_document)
        elif service == "kms":
            key = _key(arn)
            text = key and _text(key.policy)
        elif service == "sqs":
            queue = moto.QUEUES[ACCOUNT][REGION].queues.get(name)
            text = queue and queue.policy
        elif service == "sns":
            topic = moto.TOPICS[ACCOUNT][REGION].topics.get(arn)
            text = None if topic is None or DEFAULT_OF_TOPICS in topic.policy else topic.policy
        elif service == "lambda":
            owner = ":".join(arn.split(":")[:7])
            functions = moto.FUNCTIONS[ACCOUNT][REGION].list_functions()
            found = (one.policy.statements for one in functions if one.function_arn == owner)
            statements: list[Any] = next(found, [])
            text = (
                json.dumps({"Version": "2012-10-17", "Statement": _plain(statements)}) if statements else None
            )
        elif service == "s3":
            owner = arn.partition("/")[0]
        text = text or self.policies.get(owner)
        return (Document(owner=owner, name="policy", kind=kind, text=text),) if text else ()

    def key(self, given: str | None) -> str | None:
        """The ARN of a customer key, given by ARN, id or alias; as given where there is none."""
        if not given or OF_AWS in given:
            return None
        key = _key(given)
        return key.arn if key else given

    def bucket_key(self, bucket: str) -> str | None:
        """The default key of a bucket."""
        found = moto.BUCKETS[ACCOUNT]["aws"].buckets.get(bucket)
        if found is None or not found.encryption:
            return None
        default = found.encryption["Rule"]["ApplyServerSideEncryptionByDefault"]
        return self.key(default.get("KMSMasterKeyID"))

    def object_key(self, bucket: str, key: str, version: str | None) -> str | None:
        """The key of an object."""
        found = _object(bucket, key, version)
        return self.key(found.kms_key_id) if found else None

    def object_exists(self, bucket: str, key: str, version: str | None) -> bool:
        """Whether an object, or a version of it, is there."""
        return _object(bucket, key, version) is not None

    def objects(self, bucket: str, prefix: str) -> list[str]:
        """The keys below a prefix."""
        found = moto.BUCKETS[ACCOUNT]["aws"].buckets.get(bucket)
        return [key for key in list(found.keys) if key.startswith(prefix)] if found else []

    def upload_key(self, bucket: str, upload: str) -> str | None:
        """The key of a multipart upload."""
        found = moto.BUCKETS[ACCOUNT]["aws"].buckets.get(bucket)
        begun = found and found.multiparts.get(upload)
        return self.key(begun.kms_key_id) or self.bucket_key(bucket) if begun else None

    def table_key(self, table: str) -> str | None:
        """The key of a table; the default of AWS asks nobody."""
        found = moto.TABLES[ACCOUNT][REGION].tables.get(table)
        return self.key((found.sse_specification or {}).get("KMSMasterKeyId")) if found else None

    def topic_key(self, topic: str) -> str | None:
        """The key of a topic."""
        found = moto.TOPICS[ACCOUNT][REGION].topics.get(topic)
        return self.key(found.kms_master_key_id) if found else None

    def queue_key(self, queue: str) -> str | None:
        """The key of a queue."""
        found = moto.QUEUES[ACCOUNT][REGION].queues.get(queue)
        return self.key(found.kms_master_key_id) if found else None


def _key(given: str) -> moto.CustomerKey | None:
    keys: dict[str, moto.CustomerKey] = moto.KEYS[ACCOUNT][REGION].keys
    name = given.rpartition("key/")[2]
    alias = f"alias/{given.rpartition('alias/')[2]}"
    return keys.get(name) or next((one for one in keys.values() if alias in one.aliases), None)


def _object(bucket: str, key: str, version: str | None) -> moto.Key | None:
    store = moto.BUCKETS[ACCOUNT]["aws"]
    if bucket not in store.buckets:
        return None
    found: moto.Key | None = store.get_object(bucket, key, version_id=version)
    return found


def _text(policy: Any) -> str:
    return policy if isinstance(policy, str) else json.dumps(policy)


def _plain(statements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Permissions of a function as statements: without what AddPermission said beside."""
    kept = ("Sid", "Effect", "Action", "Resource", "Principal", "Condition")
    made = [{name: one[name] for name in kept if name in one} for one in statements]
    for one in made:
        if isinstance(one["Principal"], str) and one["Principal"] != "*":  # the number of an account, or a role
            one["Principal"] = {"AWS": one["Principal"]}
    return made
