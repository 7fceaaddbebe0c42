"""Every private name of moto that local mode leans on, looked up here when this file is imported.

Three kinds: what we replace or add (`Seam`), what we call or read as it is (`_name`), and the attributes of
moto's objects that we read or set (the protocols at the end, which mypy holds us to). moto is pinned. Another
version, or a name that moved, stops here with one message that lists everything, and not in the middle of a
run. tests/local/test_seams.py fails for any name here that has no contract test.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from importlib.metadata import version
from typing import Any, Protocol

MOTO = "5.2.5"
ACCOUNT = "123456789012"  # moto's own default
REGION = "us-east-1"
_moved: list[str] = []
_found: list[Any] = []


def _name(path: str) -> Any:
    """The object at `module:Name`, below moto; a missing one is noted and raised with all others."""
    module, _, name = path.partition(":")
    try:
        _found.append(getattr(import_module(f"moto.{module}"), name))
    except (ImportError, AttributeError):
        _moved.append(path)
        return None
    return _found[-1]


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
_HTTP_ERROR: Any = import_module("werkzeug.exceptions").HTTPException  # of the server below moto

# CloudFormation: what is created from a template, and in which backend.
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
CALL_FUNCTION = _seam(
    "stepfunctions.parser.asl.component.state.exec.state_task.lambda_eval_utils",
    "execute_lambda_function_integration",
)
_STATES_OF_PROGRAMS = "stepfunctions.parser.asl.eval.program_state"
_STOPPED = _name(f"{_STATES_OF_PROGRAMS}:ProgramStopped")
_TIMED_OUT = _name(f"{_STATES_OF_PROGRAMS}:ProgramTimedOut")
CUT_SHORT = (_STOPPED, _TIMED_OUT)
TELL = _seam("stepfunctions.parser.asl.eval.event.event_manager:EventManager", "add_event")
FAILING = _seam("stepfunctions.parser.asl.eval.environment:Environment", "set_error")
_RETRIER = "stepfunctions.parser.asl.component.common.retry.retrier_decl"
RETRIER = _seam(f"{_RETRIER}:RetrierDecl", "_eval_body")
RETRIER_CLOCK = _seam(_RETRIER, "time")

# Redrive, and what an execution says about it.
REDRIVE = _addition("stepfunctions.responses:StepFunctionResponse", "redrive_execution")
DESCRIBE_EXECUTION = _seam("stepfunctions.responses:StepFunctionResponse", "describe_execution")
LIST_EXECUTIONS = _seam("stepfunctions.responses:StepFunctionResponse", "list_executions")
STOP_EXECUTION = _seam("stepfunctions.responses:StepFunctionResponse", "stop_execution")
EXECUTION_DESCRIBED = _seam("stepfunctions.parser.backend.execution:Execution", "to_describe_output")
HISTORY_PLACE = _name("stepfunctions.parser.asl.eval.event.event_manager:EventHistoryContext")
EXECUTION_STATUS = _name("stepfunctions.parser.api:ExecutionStatus")

# Rights: every request comes by here; who asks, what policies say, and where those of templates go.
AUTHORIZE = _seam("core.authorization:ActionAuthenticatorMixin", "_authenticate_and_authorize_action")
PARSERS = _name("core.parse:PROTOCOL_PARSERS")
PROTOCOL = _name("core.request:determine_request_protocol")
S3_ERROR = _name("s3.exceptions:S3ClientError")
SESSIONS = _name("sts.models:sts_backends")
IAM = _name("iam.models:iam_backends")
KEYS = _name("kms.models:kms_backends")
BUCKETS = _name("s3.models:s3_backends")
TABLES = _name("dynamodb.models:dynamodb_backends")
TOPICS = _name("sns.models:sns_backends")
FUNCTIONS = _name("awslambda.models:lambda_backends")
MODEL_OF_TEMPLATES = _name("core.common_models:CloudFormationModel")
MODELS_OF_TEMPLATES = _seam("cloudformation.parsing", "get_model_map")
CREATE_ROLE = _seam("iam.models:Role", "create_from_cloudformation_json")
CREATE_TOPIC = _seam("sns.models:Topic", "create_from_cloudformation_json")
CREATE_LOG_GROUP = _seam("logs.models:LogGroup", "create_from_cloudformation_json")
CREATE_MACHINE = _seam("stepfunctions.parser.models:StepFunctionsParserBackend", "create_state_machine")
RUN_IMPORT = _seam("dynamodb.models.table_import:TableImport", "run")

# Requests, before a service looks at them.
SERVICE_MODEL = _name("core.utils:get_service_model")
PARSE = _seam("core.responses:BaseResponse", "parse_parameters")
CALL_SAGEMAKER = _seam("sagemaker.responses:SageMakerResponse", "call_action")
CALL_STATES = _seam("stepfunctions.responses:StepFunctionResponse", "call_action")
CALL_EVENTS = _seam("events.responses:EventsHandler", "call_action")
CALL_DYNAMODB = _seam("dynamodb.responses:DynamoHandler", "call_action")
SEND_MESSAGE = _seam("sqs.models:SQSBackend", "send_message")
SEND_MESSAGES = _seam("sqs.models:SQSBackend", "send_message_batch")

# Lambda: every way to call a function ends here; queues are polled by us.
INVOKE = _seam("awslambda.models:LambdaFunction", "invoke")
CREATE_MAPPING = _seam("awslambda.models:LambdaBackend", "create_event_source_mapping")
QUEUES = _name("sqs.models:sqs_backends")

# EventBridge and what S3 tells it.
SEND_TO_TARGETS = _seam("events.models:Rule", "send_to_targets")
BUSES = _name("events.models:events_backends")
PUT_EVENTS = _seam("events.models:EventsBackend", "put_events")
S3_EVENT = _seam("s3.notifications", "send_event")
S3_DELETE = _seam("s3.models:S3Backend", "delete_object")

# SageMaker: jobs are recorded by moto and done by engines.
SAGEMAKER_JOBS = {
    kind: _seam("sagemaker.responses:SageMakerResponse", f"create_{kind}_job")
    for kind in ("training", "processing", "transform")
}
CREATE_MODEL = _seam("sagemaker.responses:SageMakerResponse", "create_model")
TAGGED = _seam("sagemaker.models:SageMakerModelBackend", "_get_resource_from_arn")  # None where there is none
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


def lookups() -> Iterator[str]:
    """The names here of what we call or read as it is."""
    known = {id(one) for one in _found}
    yield from (name for name, value in globals().items() if id(value) in known)


def shapes() -> Iterator[tuple[str, type]]:
    """(name here, protocol) of each kind of object whose attributes we read or set."""
    for name, value in globals().items():
        if isinstance(value, type) and Protocol in value.__bases__:
            yield name, value


if version("moto") != MOTO:
    raise ImportError(
        f"moto is {version('moto')}; local mode is proven with {MOTO}: install that one, or move the pin once "
        "tests/local/test_seams.py is green"
    )
if _moved:
    raise ImportError(f"moto {MOTO} lacks what local mode leans on: {'; '.join(_moved)}")


class Refusal(_SERVICE_EXCEPTION):  # type: ignore[misc]
    """An error that any service may answer: `Refusal(code, message)`."""


class Denied(_HTTP_ERROR):  # type: ignore[misc]
    """What a service other than S3 answers to who may not: `description` is the body."""

    def __init__(self, code: int, body: str) -> None:
        super().__init__(body)
        self.code = code


class Role(Protocol):
    """A role of IAM; a policy is JSON text, or what a template held."""

    arn: str
    policies: dict[str, Any]
    managed_policies: dict[str, Any]  # ARN -> policy with `name`, `default_version_id` and `versions`
    assume_role_policy_document: Any


class CustomerKey(Protocol):
    """A key of KMS."""

    id: str
    arn: str
    policy: str
    aliases: dict[str, Any]


class Pattern(Protocol):
    """The event pattern of a rule."""

    get_pattern: Callable[[], dict[str, Any]]
    matches_event: Callable[[dict[str, Any]], bool]


class Rule(Protocol):
    """A rule of EventBridge."""

    name: str
    arn: str
    state: str
    scheduled_expression: str | None
    event_pattern: Pattern
    targets: list[dict[str, Any]]


class Bucket(Protocol):
    """A bucket of S3; `notification_configuration` has `event_bridge` where EventBridge is told."""

    name: str
    arn: str
    is_versioned: bool
    versioning_status: str | None
    notification_configuration: Any
    keys: Any  # key -> its versions, by `getlist`
    set_notification_configuration: Callable[[dict[str, Any]], None]


class Key(Protocol):
    """A version of an object; `multipart` is None where it was put in one piece."""

    name: str
    version_id: str
    size: int
    etag: str
    multipart: Any
    kms_key_id: str | None


class History(Protocol):
    """The events of an execution so far, and the number of the next."""

    add_event: Callable[..., int]
    get_event_history: Callable[[], list[dict[str, Any]]]
    _history_event_list: list[dict[str, Any]]
    _event_id_gen: Any  # `_next_id`
    env: Any  # which moto lacks: states.py adds it


class Environment(Protocol):
    """What a running program knows; `states` gives its data and context."""

    event_manager: History
    event_history_context: Any
    variable_store: Any
    states: Any
    is_running: Callable[[], bool]


class Worker(Protocol):
    """What runs an execution's program in a thread; `env` is None before it has begun."""

    env: Environment
    _get_evaluation_entrypoint: Callable[[], Any]
    _get_evaluation_environment: Callable[[], Environment]
    _execution_communication: Any


class Execution(Protocol):
    """An execution; both of its outputs are what the API answers, with times as datetimes.

    moto lacks the attribute `redrives`, which redrive.py adds.
    """

    to_describe_output: Callable[[], dict[str, Any]]
    to_history_output: Callable[[], dict[str, Any]]
    stop: Callable[..., None]
    status: str
    exec_status: Any
    sm_type: Any
    state_machine: Any
    input_data: Any
    input_details: Any
    start_date: datetime
    stop_date: Any  # a datetime once it has ended
    output: Any
    error: str | None
    cause: str | None
    exec_worker: Worker
    redrives: Any
    _get_start_execution_worker: Callable[[], Worker]


class Function(Protocol):
    """A function; moto lacks the attribute `dead_letter_target`, which gaps.py adds."""

    function_name: str
    function_arn: str
    role: str
    handler: str
    code: dict[str, Any]
    package_type: str
    image_config: Any
    memory_size: int
    timeout: int
    environment_vars: dict[str, str]
    logging_config: dict[str, Any]
    logs_group_name: str
    ephemeral_storage: int
    dead_letter_target: str | None


class Mapping(Protocol):
    """What brings a queue's messages to a function."""

    event_source_arn: str
    function_arn: str
    batch_size: int
    function_response_types: list[str] | None
    scaling_config: dict[str, Any] | None
