"""EventBridge as AWS does it: the default bus, its rules, schedules, and the way of an event to its targets."""

import json
import random
import time
from collections import deque
from collections.abc import Iterator
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from threading import Lock, Thread, Timer
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local import bus, news
from local import moto_seams as moto
from local.iam.needs import Refused
from local.moto_seams import ACCOUNT, REGION

if TYPE_CHECKING:
    from local.cloud import Cloud

CLOCK_SECONDS = 0.2
WINDOW_SECONDS = 0.5  # within which `shuffled` changes the order
FORMED = {"stack-id": "StackId", "logical-id": "LogicalResourceId", "stack-name": "StackName"}
LET_IN = {  # what the policy of a target must allow: service -> call, its parameter; a machine asks for a role
    "lambda": ("Invoke", "FunctionName"),
    "sns": ("Publish", "TopicArn"),
    "sqs": ("SendMessage", "QueueUrl"),
}

Delivery = tuple[str, dict[str, Any], dict[str, Any]]  # rule, target, event


class Events:
    """The default bus of one cloud; targets are called from threads, as everything here is asynchronous.

    AWS delivers at least once and in any order. Tests ask for it: `twice` delivers each event twice, `shuffled`
    lets chance order what comes within WINDOW_SECONDS, and `haste` lets schedules run that much faster.
    """

    def __init__(self, cloud: "Cloud") -> None:
        self.lost: list[str] = []  # deliveries that failed, for a person to see
        self.twice = False
        self.shuffled: random.Random | None = None
        self.haste = 1.0
        self._cloud = cloud
        self._lock = Lock()
        self._held: list[Delivery] = []
        self._sequence = 0
        self._generated: dict[str, dict[str, str]] = {}  # bucket -> the tags that AWS gave it
        self._sending = ThreadPoolExecutor(max_workers=8, thread_name_prefix="event")
        self._sent: deque[Future[None]] = deque(maxlen=1000)
        self._clock = Thread(target=self._keep_time, name="schedules", daemon=True)
        self._clock.start()

    def put(self, event: dict[str, Any]) -> None:
        """Puts one event on the bus."""
        for rule in _rules():
            self.deliver(rule, event)

    def put_entry(self, entry: dict[str, Any]) -> dict[str, str]:
        """Puts a good entry of PutEvents on the bus; returns the answer to it."""
        about = entry["Source"], entry["DetailType"], entry.get("Resources") or []
        event = news.event(*about, json.loads(entry["Detail"]), entry.get("Time"))
        try:
            self.put(event)
        except RecursionError:  # too deep for any rule to look at
            return news.MALFORMED
        return {"EventId": event["id"]}

    def deliver(self, rule: moto.Rule, event: dict[str, Any]) -> None:
        """Sends an event to all targets of a rule that matches it."""
        pattern = rule.event_pattern
        if rule.state == "ENABLED" and pattern.get_pattern() and pattern.matches_event(event):
            self._dispatch(rule, event)

    def lose(self, text: str) -> None:
        """Notes what could not be delivered, once for each cause."""
        if text not in self.lost and not self._cloud.closing.is_set():
            self.lost.append(text)

    def created(self, reason: str, bucket: moto.Bucket, key: moto.Key) -> None:
        """Tells the bus that a version of an object is there, where the bucket tells it anything."""
        if self._is_heard(bucket):
            self.put(news.created(reason, bucket, key, self._sequencer(), self._tags(bucket)))

    def deleted(
        self, bucket: moto.Bucket, key: str, version: str | None, *, marker: bool, reason: str = "DeleteObject"
    ) -> None:
        """Tells the bus that a version is gone, or that `version` is a delete marker above the others."""
        if self._is_heard(bucket):
            about = key, version, self._sequencer(), self._tags(bucket)
            self.put(news.deleted(bucket, *about, marker=marker, reason=reason))

    def of_execution(self, execution: moto.Execution) -> None:
        """Tells the bus the status of an execution."""
        self.put(news.of_execution(execution))

    def quiet(self, seconds: float) -> None:
        """Waits until what is on its way has arrived, but no longer than that."""
        futures.wait(list(self._sent), seconds)

    def close(self) -> None:
        """Ends what waits; what is on its way is dropped, as AWS promises no delivery."""
        self._sending.shutdown(wait=False, cancel_futures=True)
        self._clock.join()

    def _is_heard(self, bucket: moto.Bucket) -> bool:
        """Whether a bucket tells the bus anything, and anybody listens."""
        configuration = bucket.notification_configuration
        return configuration is not None and configuration.event_bridge is not None and any(_rules())

    def _tags(self, bucket: moto.Bucket) -> dict[str, str]:
        """The tags that CloudFormation gives to the buckets that it makes; none for any other bucket."""
        if bucket.name not in self._generated:
            formation = self._cloud.client("cloudformation")
            made = {
                one.get("PhysicalResourceId"): {
                    f"aws:cloudformation:{name}": one[key] for name, key in FORMED.items()
                }
                for stack in formation.describe_stacks()["Stacks"]
                for one in formation.describe_stack_resources(StackName=stack["StackName"])["StackResources"]
            }
            self._generated[bucket.name] = made.get(bucket.name, {})
        return self._generated[bucket.name]

    def _sequencer(self) -> str:
        """18 hexadecimal digits that grow from event to event: epoch seconds, then their fraction in 2**-32."""
        with self._lock:
            self._sequence = max(self._sequence + 1, time.time_ns() * 2**32 // 10**9)
            return f"{self._sequence:018X}"

    def _dispatch(self, rule: moto.Rule, event: dict[str, Any]) -> None:
        """Sends an event to all targets of a rule, as often and as late as was asked for."""
        if self._cloud.closing.is_set():
            return
        deliveries = [(rule.name, target, event) for target in rule.targets * (2 if self.twice else 1)]
        if self.shuffled is None:
            self._submit(deliveries)
            return
        with self._lock:
            if not self._held:
                timer = Timer(WINDOW_SECONDS, self._release)
                timer.daemon = True
                timer.start()
            self._held += deliveries

    def _release(self) -> None:
        with self._lock:
            held, self._held = self._held, []
        (self.shuffled or random.Random()).shuffle(held)
        self._submit(held)

    def _submit(self, deliveries: list[Delivery]) -> None:
        if not self._cloud.closing.is_set():
            for delivery in deliveries:
                sent = self._sending.submit(self._send, *delivery)
                sent.add_done_callback(self._told)
                self._sent.append(sent)

    def _told(self, sent: Future[None]) -> None:
        """Notes what a delivery raised, which would vanish in its thread."""
        if not sent.cancelled() and (error := sent.exception()):
            self.lose(f"an event was not delivered: {error!r}")

    def _send(self, rule: str, target: dict[str, Any], event: dict[str, Any]) -> None:
        source = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{rule}"
        arn, given = target["Arn"], bus.transformed(target, event, source)
        service = arn.split(":")[2]
        try:
            if service in LET_IN:
                operation, parameter = LET_IN[service]
                rights = self._cloud.iam
                rights.service_may("events", rights.call(service, operation, {parameter: arn}), source)
            if service == "sqs":
                url = self._cloud.client("sqs").get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
                self._cloud.client("sqs").send_message(QueueUrl=url, MessageBody=given)
            elif service == "lambda":
                self._cloud.client("lambda").invoke(
                    FunctionName=arn, InvocationType="Event", Payload=given.encode()
                )
            elif service == "states":
                client = self._cloud.client("stepfunctions", target.get("RoleArn"), of=source)
                client.start_execution(stateMachineArn=arn, input=given)
            elif service == "sns":
                self._cloud.client("sns").publish(TopicArn=arn, Message=given)
            else:
                emulated = ", ".join(sorted(bus.TARGETS))
                self.lose(f"rule {rule}: target {arn} is not emulated; there are {emulated}")
        except (ClientError, BotoCoreError, Refused) as error:
            self.lose(f"rule {rule}: {arn} refused the event: {error}")

    def _keep_time(self) -> None:
        """Lets scheduled rules fire, each first when its period is over."""
        since: dict[str, float] = {}
        while not self._cloud.closing.wait(CLOCK_SECONDS):
            now = time.monotonic()
            for rule in _rules():
                period = bus.seconds(rule.scheduled_expression)
                if period and (now - since.setdefault(rule.arn, now)) * self.haste >= period:
                    since[rule.arn] = now
                    if rule.state == "ENABLED":
                        self._dispatch(rule, news.event("aws.events", "Scheduled Event", [rule.arn], {}))


def _rules() -> Iterator[moto.Rule]:
    yield from list(moto.BUSES[ACCOUNT][REGION].event_buses["default"].rules.values())


def install(cloud: "Cloud", stack: ExitStack) -> Events:
    """Lets the bus, S3 and executions tell each other what happens, until `stack` closes."""
    events = Events(cloud)
    starts, ends, delete = moto.EXECUTION_STARTS.original, moto.EXECUTION_ENDS.original, moto.S3_DELETE.original
    call = moto.CALL_EVENTS.original

    def call_action(self: Any) -> Any:
        try:
            refused = bus.refusal(self._get_action(), json.loads(self.body or "{}"))
        except (ValueError, RecursionError):
            refused = None  # what is no JSON is refused below
        if refused is None:
            return call(self)
        return 400, self.response_headers, json.dumps({"__type": refused[0], "message": refused[1]})

    def send_to_targets(self: Any, original_event: Any, transform_input: bool = True) -> None:
        events.deliver(self, original_event)

    def send_event(account_id: str, event_name: Any, bucket: Any, key: Any) -> None:
        reason = news.CREATED.get(event_name.value)
        # moto announces the parts put together and the completion; S3 only the second.
        if reason and not (reason == "PutObject" and key.multipart is not None):
            events.created(reason, bucket, key)

    def put_events(self: Any, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        named = {(one.get("EventBusName") or "default").rpartition("/")[2] for one in entries}
        elsewhere = named - {"default"}
        if elsewhere:
            text = f"not emulated locally: event bus {', '.join(sorted(elsewhere))}; there is the default one"
            raise moto.Refusal("ValidationException", text)
        if sum(map(news.size, entries)) >= news.LARGEST:
            text = "Total size of the entries in the request is over the limit."
            raise moto.Refusal("ValidationException", text)
        return [news.refused(one) or events.put_entry(one) for one in entries]

    def delete_object(
        self: Any, bucket_name: str, key_name: str, version_id: Any = None, bypass: Any = False
    ) -> Any:
        bucket = self.get_bucket(bucket_name)
        versions = {str(one.version_id) for one in bucket.keys.getlist(key_name, [])}
        done, headers = delete(self, bucket_name, key_name, version_id, bypass)
        if done and (version_id is None or str(version_id) in versions):
            marker = version_id is None and bucket.is_versioned
            events.deleted(bucket, key_name, headers.get("version-id"), marker=marker)
        return done, headers

    def start(self: Any) -> None:
        self.exec_status = moto.EXECUTION_STATUS.RUNNING  # told first: it can be over in a moment
        events.of_execution(self)
        starts(self)

    def reflect_execution_status(self: Any) -> None:
        ends(self)
        events.of_execution(self.execution)

    moto.put(stack, moto.SEND_TO_TARGETS, send_to_targets)
    moto.put(stack, moto.CALL_EVENTS, call_action)
    moto.put(stack, moto.PUT_EVENTS, put_events)
    moto.put(stack, moto.S3_EVENT, send_event)
    moto.put(stack, moto.S3_DELETE, delete_object)
    moto.put(stack, moto.EXECUTION_STARTS, start)
    moto.put(stack, moto.EXECUTION_ENDS, reflect_execution_status)
    return events
