"""Every private name of moto that local mode leans on, looked up here when this file is imported.

moto is pinned. Another version, or a name that moved, stops here with one message that lists everything, and
not in the middle of a run. tests/local/test_seams.py holds one contract for each name.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any

MOTO = "5.2.5"
ACCOUNT = "123456789012"  # moto's own default
REGION = "us-east-1"
_moved: list[str] = []


def _name(path: str) -> Any:
    """The object at `module:Name`, below moto; a missing one is noted and raised with all others."""
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(f"moto.{module}"), name)
    except (ImportError, AttributeError):
        _moved.append(path)


@dataclass(frozen=True, slots=True)
class Seam:
    """One attribute of a class or module of moto that we replace, or add where moto has none."""

    owner: Any
    name: str
    added: bool = False

    @property
    def original(self) -> Any:
        """What moto has there."""
        return getattr(self.owner, self.name)


def _seam(path: str, name: str) -> Seam:
    owner = _name(path) if ":" in path else import_module(f"moto.{path}")
    if owner is not None and not hasattr(owner, name):
        _moved.append(f"{path}.{name}")
    return Seam(owner, name)


def _addition(path: str, name: str) -> Seam:
    """A method that moto does not have yet; once it has, look at what it does before replacing it."""
    owner = _name(path)
    if owner is not None and hasattr(owner, name):
        _moved.append(f"{path}.{name}, which moto now has itself")
    return Seam(owner, name, added=True)


def put(stack: ExitStack, seam: Seam, replacement: Any) -> None:
    """Replaces the seam's attribute until `stack` closes."""
    before = vars(seam.owner).get(seam.name)

    def restore() -> None:
        if before is None:
            delattr(seam.owner, seam.name)
        else:
            setattr(seam.owner, seam.name, before)

    setattr(seam.owner, seam.name, replacement)
    stack.callback(restore)


# The server in this process, its state and its switches.
SERVER = _name("server:ThreadedMotoServer")
MODULES = _seam("backends", "list_of_moto_modules")  # reads a directory for each request
BUFFER = _seam("s3.models", "get_s3_default_key_buffer_size")  # objects above it go to a file
USER_CONFIG = _name("core.config:default_user_config")
_SERVICE_EXCEPTION: Any = _name("core.exceptions:ServiceException")
ANSWER = _name("core.responses:ActionResult")

# CloudFormation: what is created from a template, and in which backend.
MODEL_MAP = _name("cloudformation.parsing:get_model_map")
CREATE_BUCKET = _seam("s3.models:FakeBucket", "create_from_cloudformation_json")
CREATE_FUNCTION = _seam("awslambda.models:LambdaFunction", "create_from_cloudformation_json")
CREATE_TABLE = _seam("dynamodb.models.table:Table", "create_from_cloudformation_json")
IMAGE_CONFIG = _name("awslambda.models:ImageConfig")
MACHINES_OF_TEMPLATES = _seam("stepfunctions.models", "stepfunctions_backends")
MACHINES = _name("stepfunctions.parser.models:stepfunctions_parser_backends")

# Step Functions: the optimized SageMaker integration, clients with the machine's role, names, context, ends.
TASK = _name(
    "stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_callback"
    ":StateTaskServiceCallback"
)
TASK_OF_SAGEMAKER = _seam(
    "stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_factory",
    "StateTaskServiceUnsupported",
)
RESOURCE_CONDITION = _name(
    "stepfunctions.parser.asl.component.state.exec.state_task.service.resource:ResourceCondition"
)
_ERRORS = "stepfunctions.parser.asl.component.common.error_name"
ERROR_NAME = _name(f"{_ERRORS}.error_name:ErrorName")
STATES_ERROR_NAME = _name(f"{_ERRORS}.states_error_name:StatesErrorName")
STATES_ERROR_TYPE = _name(f"{_ERRORS}.states_error_name_type:StatesErrorNameType")
FAILURE_EVENT = _name(f"{_ERRORS}.failure_event:FailureEvent")
FAILURE = _name(f"{_ERRORS}.failure_event:FailureEventException")
CUSTOM_ERROR_NAME = _seam(f"{_ERRORS}.custom_error_name:CustomErrorName", "__init__")
EVENT_TYPE = _name("stepfunctions.parser.api:HistoryEventType")
TASK_FAILED = _name("stepfunctions.parser.api:TaskFailedEventDetails")
EVENT_DETAILS = _name("stepfunctions.parser.asl.eval.event.event_detail:EventDetails")
PARSER_OF_DEFINITIONS = _seam("stepfunctions.parser.models", "AmazonStateLanguageParser")
PARSER_OF_EXECUTIONS = _seam("stepfunctions.parser.backend.execution_worker", "AmazonStateLanguageParser")
CONTEXT = _seam("stepfunctions.parser.backend.execution_worker:ExecutionWorker", "_get_evaluation_environment")
START_EXECUTION = _seam("stepfunctions.parser.models:StepFunctionsParserBackend", "start_execution")
EXECUTION_STARTS = _seam("stepfunctions.parser.backend.execution:Execution", "start")
EXECUTION_ENDS = _seam(
    "stepfunctions.parser.backend.execution:BaseExecutionWorkerCommunication", "_reflect_execution_status"
)
FUNCTION_CLIENT = _seam(
    "stepfunctions.parser.asl.component.state.exec.state_task.lambda_eval_utils", "boto_client_for"
)

# Lambda: every way to call a function ends here; queues are polled by us.
INVOKE = _seam("awslambda.models:LambdaFunction", "invoke")
CREATE_MAPPING = _seam("awslambda.models:LambdaBackend", "create_event_source_mapping")
QUEUES = _name("sqs.models:sqs_backends")

# EventBridge and what S3 tells it.
SEND_TO_TARGETS = _seam("events.models:Rule", "send_to_targets")
BUSES = _name("events.models:events_backends")
S3_EVENT = _seam("s3.notifications", "send_event")
S3_DELETE_MARKER = _seam("s3.models:S3Backend", "_set_delete_marker")

# SageMaker: jobs are recorded by moto and done by engines.
SAGEMAKER_JOBS = {
    kind: _seam("sagemaker.responses:SageMakerResponse", f"create_{kind}_job")
    for kind in ("training", "processing", "transform")
}
STOP_PROCESSING = _seam("sagemaker.responses:SageMakerResponse", "stop_processing_job")
STOP_TRAINING = _addition("sagemaker.responses:SageMakerResponse", "stop_training_job")
STOP_TRANSFORM = _addition("sagemaker.responses:SageMakerResponse", "stop_transform_job")

# DynamoDB imports, and Service Quotas, of which moto knows only those of VPC.
IMPORT_TABLE = _seam("dynamodb.responses:DynamoHandler", "import_table")
DESCRIBE_IMPORT = _seam("dynamodb.responses:DynamoHandler", "describe_import")
REQUEST_BODY = Seam(
    import_module("werkzeug.wsgi").LimitedStream, "readall"
)  # below moto's server: copies thrice
JSON_LINES = Seam(import_module("py_partiql_parser").JsonParser, "parse")  # in moto's import, where it is slow
LIST_IMPORTS = _addition("dynamodb.responses:DynamoHandler", "list_imports")
LIST_QUOTAS = _addition("servicequotas.responses:ServiceQuotasResponse", "list_service_quotas")
LIST_DEFAULT_QUOTAS = _seam("servicequotas.responses:ServiceQuotasResponse", "list_aws_default_service_quotas")


def seams() -> Iterator[tuple[str, Seam]]:
    """(name here, seam) of every attribute that we replace or add."""
    for name, value in globals().items():
        if isinstance(value, Seam):
            yield name, value
    yield from ((f"SAGEMAKER_JOBS {kind}", seam) for kind, seam in SAGEMAKER_JOBS.items())


if version("moto") != MOTO:
    raise ImportError(
        f"moto is {version('moto')}; local mode is proven with {MOTO}: install that one, or move the pin once "
        "tests/local/test_seams.py is green"
    )
if _moved:
    raise ImportError(f"moto {MOTO} lacks what local mode leans on: {'; '.join(_moved)}")


class Refusal(_SERVICE_EXCEPTION):  # type: ignore[misc]
    """An error that any service may answer: `Refusal(code, message)`."""
