"""The end of an execution -> the dataset freed, what waits started, the topic told.

Events of executions are best effort and may be late: Step Functions is asked before anything is freed.
"""

import json
import logging
import re
from typing import Any

from lambdas import _cloud as cloud
from lambdas import _ledger as ledgers

log = logging.getLogger(__name__)

SUBJECT_CHARS = 99  # the most that SNS takes, and only ASCII
CAUSE_CHARS = 3000
SOURCE = "aws.states"
NAME = r'[^\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\ud800-\udfff]+'  # of an execution
ANEW = "Start anew: an upload does so by itself, the Step Functions console with the input {} too."
HINTS = {  # error, beginning of a job's reason, or status -> (what to do, does a redrive help)
    "InputRejected": (f"The files cannot be used: correct them. {ANEW}", False),
    "SettingsRejected": ("The input or a setting cannot be used: correct it and start anew.", False),
    "QuotasRejected": ("Request the quotas named above, and redrive when they are granted.", True),
    "DatasetBusy": ("Nothing is lost: newer files start a run when the other one ends.", False),
    "RunRejected": (f"Files of the run contradict each other or have expired. {ANEW}", False),
    "RecordsRejected": (f"A file of the run is broken. {ANEW}", False),
    "ArtifactRejected": (f"The trained model cannot be used; look at the job's log. {ANEW}", False),
    "ListsNotReady": ("The import of the lists takes longer than usual: redrive later.", True),
    "ListsRejected": (f"The imported lists are not what was ranked; the live lists stay. {ANEW}", False),
    "JobStopped": (f"A job was ended early; its max_runtime_seconds may be too low. {ANEW}", False),
    "SageMaker.ResourceLimitExceededException": (
        "A quota is used up: wait for other jobs or request an increase, then redrive.",
        True,
    ),
    "SageMaker.ResourceInUseException": (
        "An earlier attempt took the job's name: redrive makes another.",
        True,
    ),
    "SageMaker.AmazonSageMakerException": (
        "SageMaker refused the request. A missing right: deploy it and redrive. "
        f"A wrong value: correct the setting. {ANEW}",
        True,
    ),
    "AccessDenied": (
        "The role named above lacks this right, or a policy denies it: allow it, deploy, redrive.",
        True,
    ),
    "Sandbox.Timedout": ("The function ran out of time: raise function_memory_mb, deploy, redrive.", True),
    "Lambda.Unknown": ("The function ran out of time: raise function_memory_mb, deploy, redrive.", True),
    "Runtime.ExitError": ("The function ran out of memory: raise function_memory_mb, deploy, redrive.", True),
    "Lambda.CodeArtifactUserFailedException": ("The image does not start: deploy again, redrive.", True),
    "CapacityError": ("AWS has no such machine free: redrive later, or start anew with another type.", True),
    "AlgorithmError": ("The algorithm failed: read its log. A redrive runs the same job again.", True),
    "ClientError": (f"The job was given something it cannot use: correct it. {ANEW}", False),
    "InternalServerError": ("SageMaker itself failed: redrive.", True),
    "States.Timeout": ("A state took too long: look at its job or function, then redrive.", True),
    "States.Runtime": (f"The state machine itself is at fault: correct it, deploy. {ANEW}", False),
    "States.DataLimitExceeded": (f"A state's output is too large: correct it, deploy. {ANEW}", False),
    "ABORTED": ("Somebody stopped it. A job it had started may still run: look. Redrive goes on.", True),
    "TIMED_OUT": ("The whole run took too long. Redrive goes on with a new time limit.", True),
}
OTHERWISE = ("When the cause is gone, redrive.", True)


def handler(event: dict[str, Any], context: object) -> None:
    """Frees and starts first and tells last: a topic that is down changes nothing for the datasets."""
    match event:
        case {"detail": {"executionArn": str(arn)}} if _is_ours(arn) and event.get("source", SOURCE) == SOURCE:
            ended = cloud.execution(arn)
        case _:
            log.warning("event ignored: no execution of ours", extra={"event": ascii(event)[:CAUSE_CHARS]})
            return
    if ended is None or ended["status"] in cloud.ALIVE:
        log.info("not ended", extra={"execution": arn})
        return
    try:
        for dataset in cloud.datasets():
            release(dataset, arn, ended["stateMachineArn"])
    finally:
        cloud.tell(*message(ended))


def _is_ours(arn: str) -> bool:
    """Whether this is the name of an execution of our machine."""
    executions = cloud.env("MACHINE").replace(":stateMachine:", ":execution:")
    return re.fullmatch(rf"{re.escape(executions)}:{NAME}", arn) is not None


def release(dataset: str, execution: str, machine: str) -> None:
    """Frees the dataset if this execution holds it, and starts what waits."""
    while True:
        before = cloud.ledger(dataset)
        after = ledgers.assigned(ledgers.freed(before, execution), machine)
        if cloud.swap(before, after):
            break
    cloud.start_waiting(after, machine)


def message(ended: dict[str, Any]) -> tuple[str, str]:
    """(subject, text) of what an operator wants to know about an execution that has ended."""
    arn = ended["executionArn"]
    dataset = parsed(ended.get("input")).get("dataset", cloud.datasets()[0])
    outcome, lines = told(ended) if ended["status"] == "SUCCEEDED" else failed(ended, last_state(arn))
    link = cloud.console(arn, f"states/home?region={arn.split(':')[3]}#/v2/executions/details/{arn}")
    subject = " ".join(f"topx {cloud.env('STAGE')}: {dataset} {outcome}".split())
    text = "\n".join([f"{dataset}: {outcome}", *lines, f"Execution: {link}"])
    text = text.encode("utf-8", "replace").decode()  # JSON may hold half a character, SNS may not
    return subject.encode("ascii", "replace").decode()[:SUBJECT_CHARS], text


def told(ended: dict[str, Any]) -> tuple[str, list[str]]:
    """(outcome, lines) of an execution that ended well: published, or why not, and its report."""
    made = parsed(ended.get("output"))
    lines = [f"Run: {made.get('run_id')}"]
    lines += [f"Reason: {reason}" for reason in made.get("reasons", ())]
    lines += [f"Report: s3://{cloud.env('RUNS')}/{made['report']}"] if made.get("report") else []
    return ("published" if made.get("published") else "not published"), lines


def last_state(arn: str) -> str:
    """The state that an execution had entered last."""
    entered = (one.get("stateEnteredEventDetails") for one in cloud.last_events(arn))
    return next((one["name"] for one in entered if one), "no state")


def failed(ended: dict[str, Any], state: str) -> tuple[str, list[str]]:
    """(outcome, lines) of any other end: state, error, cause, what to do, and the redrive where it helps."""
    arn, status = ended["executionArn"], ended["status"]
    error, cause = ended.get("error") or status, reason(ended.get("cause"))
    denied = "AccessDenied" if "is not authorized to perform: " in cause else ""
    known = (HINTS[name] for name in (denied, cause.split(":")[0], error, status) if name in HINTS)
    hint, redrive = next(known, OTHERWISE)
    lines = [f"State: {state}", f"Error: {error}", f"Cause: {cause[:CAUSE_CHARS]}", f"What to do: {hint}"]
    if redrive:
        lines.append(f"Redrive: aws stepfunctions redrive-execution --execution-arn {arn}")
    return f"{status} in {state}", lines


def reason(cause: str | None) -> str:
    """What went wrong, out of a function's or a job's JSON; any other text as it is."""
    found = parsed(cause)
    told = [found.get(key) for key in ("ExitMessage", "FailureReason", "errorMessage")]
    return "\n".join(str(one) for one in told if one) or cause or "none given"


def parsed(text: str | None) -> dict[str, Any]:
    """The object in a JSON text; empty when there is none."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
