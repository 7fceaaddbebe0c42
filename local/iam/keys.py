"""The condition keys whose values local mode knows: of every request, of roles, of services and of actions."""

from datetime import UTC, datetime

from local.iam.needs import Context, Role

SUFFIX = ".amazonaws.com"

ALWAYS = {  # of every request
    *("aws:currenttime", "aws:epochtime", "aws:securetransport", "aws:requestedregion", "aws:resourceaccount"),
    *("aws:viaawsservice", "aws:principalisawsservice"),
}
OF_ROLES = {
    *("aws:principalarn", "aws:principalaccount", "aws:principaltype", "aws:userid", "aws:username"),
    "aws:sourceip",  # 127.0.0.1: no address of a customer's network, as on AWS
    *("aws:calledvia", "aws:calledviafirst", "aws:calledvialast"),
}
OF_SERVICES = {"aws:sourcearn", "aws:sourceaccount", "aws:principalservicename"}
OF_ACTIONS = {
    *("s3:prefix", "s3:delimiter", "s3:max-keys", "s3:versionid"),
    *("s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"),
    *("kms:viaservice", "kms:calleraccount", "kms:grantisforawsresource"),
    *("sagemaker:instancetypes", "sagemaker:networkisolation", "sagemaker:maxruntimeinseconds"),
    *("sagemaker:volumekmskey", "sagemaker:outputkmskey", "sagemaker:intercontainertrafficencryption"),
    *("sagemaker:modelarn", "sagemaker:vpcsubnets", "sagemaker:vpcsecuritygroupids"),
    "sagemaker:taggingaction",
    *("iam:passedtoservice", "iam:associatedresourcearn"),
    "aws:tagkeys",
}
UNEVALUATED = {"cloudwatch:namespace"}  # of actions that services take on our behalf only: on_behalf.py
FAMILIES = ("aws:requesttag/", "kms:encryptioncontext:")
MANY = {  # keys with several values, which need a set operator
    *("sagemaker:instancetypes", "sagemaker:vpcsubnets", "sagemaker:vpcsecuritygroupids"),
    *("aws:tagkeys", "aws:calledvia"),
}


def known(key: str) -> bool:
    """Whether policies may ask for this key."""
    name = key.lower()
    return name in ALWAYS | OF_ROLES | OF_SERVICES | OF_ACTIONS | UNEVALUATED or name.startswith(FAMILIES)


def common(account: str, region: str) -> Context:
    """What is known of every request."""
    now = datetime.now(UTC)
    return {
        "aws:currenttime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "aws:epochtime": str(int(now.timestamp())),
        "aws:securetransport": "true",  # plain HTTP here stands for HTTPS
        "aws:requestedregion": region,
        "aws:resourceaccount": account,
        "aws:principalisawsservice": "false",
        "aws:viaawsservice": "false",
    }


def of_role(role: Role, region: str, chain: tuple[str, ...]) -> Context:
    """What is known of a role's request; `chain` are the services that pass it on, first to last."""
    account = role.arn.split(":")[4]
    context: Context = {
        "aws:principalarn": role.arn,
        "aws:principalaccount": account,
        "aws:principaltype": "AssumedRole",
        "aws:userid": role.id,
        "kms:calleraccount": account,
    }
    if not chain:
        return context | {"aws:sourceip": "127.0.0.1"}
    called = tuple(f"{one}{SUFFIX}" for one in chain)
    return context | {
        "aws:viaawsservice": "true",
        "aws:calledvia": called,
        "aws:calledviafirst": called[0],
        "aws:calledvialast": called[-1],
        "kms:viaservice": f"{chain[-1]}.{region}{SUFFIX}",
    }
