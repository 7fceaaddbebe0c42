"""Roles that bite: every call of a role is allowed by its policies, or refused in AWS's words.

authorizer.py   who asks for what, and the answer
table.py        operation -> the rights that it needs
s3.py           the same for S3
needs.py        the words in which both are written
policy.py       IAM's language: what policies say to one request
conditions.py   their conditions
keys.py         the values that conditions can ask for
world.py        where policies and keys are found in moto
templates.py    where templates have policies, and what is wrong with them
resources.py    what AWS looks at when resources come to be
on_behalf.py    rights for what services do for us, which nobody calls here
"""
