"""All metrics: what each measures, in which unit, and its labels. Pure.

Names that begin with `gen_ai.`, `http.` or `messaging.` are those of the OpenTelemetry conventions
(https://github.com/open-telemetry/semantic-conventions-genai, state of the schema 1.42.0, status Development; and
https://opentelemetry.io/docs/specs/semconv/). They are here and nowhere else, because they still change.

A label has few values, whatever clients send: no id of a session, an agent or a user, no name that a client chooses.
Recording is in `metering.py`.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
MODEL: Final = "gen_ai.request.model"
"""A model of the catalogue, else OTHER: agents may name any."""
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  no secret
TOOL: Final = "gen_ai.tool.name"
ERROR: Final = "error.type"
"""Only of what failed."""
METHOD: Final = "http.request.method"
ROUTE: Final = "http.route"
STATUS: Final = "http.response.status_code"
SYSTEM: Final = "messaging.system"
MESSAGING_OPERATION: Final = "messaging.operation.name"
DESTINATION: Final = "messaging.destination.template"
CELL: Final = "holdfast.cell"
VERDICT: Final = "holdfast.verdict"
"""Of a connection from a sandbox: `allowed`, or why it was refused, as in `x-holdfast-egress`."""
WHERE: Final = "holdfast.where"
STOP: Final = "holdfast.stop_reason"
DELTAS: Final = "holdfast.deltas"
STATE: Final = "holdfast.state"
"""Of inputs that are stored: `waiting` for a harness, `delivered` to one, `redelivered` (part of `delivered`)."""

OTHER: Final = "_OTHER"
"""The value of a label for everything that is not in its list, as the conventions spell it."""

Labels = Mapping[str, str | int | bool]

NO_LABELS: Final[Labels] = {}

Kind = Literal["counter", "histogram", "gauge"]

FAST_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of what takes milliseconds, in seconds."""

SLOW_S: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Of what waits for a model, as the GenAI conventions advise."""

LONG_S: Final = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
"""Of turns, which may last for hours."""

TOKENS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
"""As the GenAI conventions advise."""


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric. `unit` is as UCUM spells it, `buckets` are the upper bounds of a histogram."""

    name: str
    kind: Kind
    unit: str
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    begins: tuple[str, ...] = ()
    """Values of its only label that a counter shows from the start, with 0: Prometheus sees no increase in a series
    that appears with 1, so that the first failure would not be seen. A counter without labels shows 0 in any case."""


def _counter(name: str, unit: str, text: str, *labels: str, begins: tuple[str, ...] = ()) -> Metric:
    return Metric(name=name, kind="counter", unit=unit, text=text, labels=labels, begins=begins)


def _gauge(name: str, unit: str, text: str, *labels: str) -> Metric:
    return Metric(name=name, kind="gauge", unit=unit, text=text, labels=labels)


def _histogram(name: str, buckets: tuple[float, ...], text: str, *labels: str, unit: str = "s") -> Metric:
    return Metric(name=name, kind="histogram", unit=unit, text=text, labels=labels, buckets=buckets)


# --- the model, and what it costs (harness) ----------------------------------------------------------------------

_ASKED = (OPERATION, PROVIDER, MODEL)

MODEL_DURATION: Final = _histogram(
    "gen_ai.client.operation.duration", SLOW_S, "From a model request to the end of its response.", *_ASKED, ERROR
)
FIRST_CHUNK: Final = _histogram(
    "gen_ai.client.operation.time_to_first_chunk", SLOW_S, "From a model request to the first piece.", *_ASKED
)
TOKEN_USAGE: Final = _histogram(
    "gen_ai.client.token.usage",
    TOKENS,
    "Tokens of one model request; cached tokens are part of the input.",
    *_ASKED,
    TOKEN_TYPE,
    unit="{token}",
)
CACHED_TOKENS: Final = _counter(
    "holdfast.model.cached_tokens",
    "{token}",
    "Tokens of the input by type: cache_read, cache_write.",
    MODEL,
    TOKEN_TYPE,
)
MODEL_COST: Final = _counter(
    "holdfast.model.cost", "{USD}", "US dollars by the catalogue of models; nothing for a model without a price.", MODEL
)

# --- turns (harness) ---------------------------------------------------------------------------------------------

TURN_DURATION: Final = _histogram(
    "gen_ai.invoke_agent.duration", LONG_S, "From the start of a turn to its end.", STOP, ERROR
)
TURN_QUEUE: Final = _histogram(
    "holdfast.turn.queue.duration", FAST_S, "From the request of a client to the start of the turn that it begins."
)
TAKEOVERS: Final = _counter(
    "holdfast.claim.takeovers", "{takeover}", "Claims of sessions whose earlier harness had died, or was thought to."
)
DRIVEN: Final = _gauge("holdfast.sessions.driven", "{session}", "Sessions that this harness drives now.")
DROPPED_REQUESTS: Final = _counter(
    "holdfast.model.dropped_requests", "{request}", "Model requests that were sent and dropped unread (rule 6)."
)

# --- failures: each kind has a metric of its own -----------------------------------------------------------------

BugPlace = Literal[
    "call", "connection", "delivery", "driver", "duty", "egress", "http", "life_thread", "listener", "provision",
    "request", "result", "sandbox_end", "span", "turn",
]  # fmt: skip
"""Parts of the code in which an exception that no rule expects is caught."""

LostMessage = Literal["append", "arrival", "live", "put", "tool_request"]

BUGS: Final = _counter(
    "holdfast.failures.bugs",
    "{failure}",
    "Exceptions that no rule expects: faults of Holdfast itself.",
    WHERE,
    begins=get_args(BugPlace),
)
LOST_MESSAGES: Final = _counter(
    "holdfast.failures.lost_messages",
    "{message}",
    "Messages of the bus that did not arrive, and were noticed.",
    WHERE,
    begins=get_args(LostMessage),
)
LOST_SANDBOXES: Final = _counter(
    "holdfast.failures.lost_sandboxes",
    "{sandbox}",
    "Sandboxes that were lost with calls of their session.",
    WHERE,
    begins=("sandbox",),
)

# --- sandboxes ---------------------------------------------------------------------------------------------------

TOOL_DURATION: Final = _histogram(
    "gen_ai.execute_tool.duration", SLOW_S, "How long a call ran in its sandbox.", OPERATION, TOOL, ERROR
)
SANDBOXES: Final = _gauge("holdfast.sandboxes", "{sandbox}", "Sandboxes of this worker now.")
SANDBOX_START: Final = _histogram(
    "holdfast.sandbox.start.duration", FAST_S, "How long it took to make a sandbox.", ERROR
)
SANDBOX_ENDS: Final = _counter("holdfast.sandbox.ends", "{sandbox}", "Sandboxes that have ended, for whatever cause.")

EGRESS_CONNECTIONS: Final = _counter(
    "holdfast.egress.connections", "{connection}", "Connections that sandboxes asked the egress proxy for.", VERDICT
)
EGRESS_BYTES: Final = _counter(
    "holdfast.egress.io", "By", "Bytes that the egress proxy has read from sandboxes and servers."
)

# --- the edge (session service) ----------------------------------------------------------------------------------

HTTP_DURATION: Final = _histogram(
    "http.server.request.duration", FAST_S, "Requests of clients, without event streams.", METHOD, ROUTE, STATUS
)
STREAMS: Final = _gauge("holdfast.event_streams", "{stream}", "Event streams that are open now.")
FIRST_TOKEN: Final = _histogram(
    "holdfast.client.time_to_first_token",
    SLOW_S,
    "From the message of a client to the first output of the model on its event stream.",
    DELTAS,
)

# --- the bus -----------------------------------------------------------------------------------------------------

BUS_DURATION: Final = _histogram(
    "messaging.client.operation.duration",
    FAST_S,
    "From the publish of a message to the answer that it is stored.",
    SYSTEM,
    MESSAGING_OPERATION,
    DESTINATION,
    ERROR,
)
BUS_ROUND_TRIP: Final = _histogram(
    "holdfast.bus.round_trip.duration", FAST_S, "One question to the bus and its answer, each 2 s from each process."
)
LOOP_LAG: Final = _gauge("holdfast.event_loop.lag", "s", "How late the event loop of the process was, twice a second.")
INBOX_DEPTH: Final = _gauge("holdfast.inbox.depth", "{input}", "Inputs that are stored and not acked.", CELL, STATE)
INBOX_AGE: Final = _gauge(
    "holdfast.inbox.oldest.age", "s", "Age of the oldest input that waits for a harness; 0 if none does.", CELL
)
PARKED: Final = _gauge("holdfast.inputs.parked", "{input}", "Inputs that were set aside and wait for an operator.")
TASKS_STORED: Final = _gauge(
    "holdfast.tasks.stored", "{task}", "Tasks in the queue: they wait, or are on their way to a session."
)
TASKS_OPEN: Final = _gauge("holdfast.tasks.open", "{task}", "Tasks that count for the limits of their bindings.")
LOG_LAG: Final = _gauge("holdfast.log.lag", "{commit}", "Commits by which the lists of sessions are behind.", CELL)

ALL: Final = (
    MODEL_DURATION, FIRST_CHUNK, TOKEN_USAGE, CACHED_TOKENS, MODEL_COST,
    TURN_DURATION, TURN_QUEUE, TAKEOVERS, DRIVEN, DROPPED_REQUESTS,
    BUGS, LOST_MESSAGES, LOST_SANDBOXES,
    TOOL_DURATION, SANDBOXES, SANDBOX_START, SANDBOX_ENDS, EGRESS_CONNECTIONS, EGRESS_BYTES,
    HTTP_DURATION, STREAMS, FIRST_TOKEN,
    BUS_DURATION, BUS_ROUND_TRIP, LOOP_LAG, INBOX_DEPTH, INBOX_AGE, PARKED, LOG_LAG,
    TASKS_STORED, TASKS_OPEN,
)  # fmt: skip


def prometheus_name(metric: Metric) -> str:
    """The name that the metric has on `/metrics`: without `_bucket`, `_sum` and `_count` of a histogram."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", metric.name)
    name += {"s": "_seconds", "By": "_bytes"}.get(metric.unit, "")
    return name + "_total" if metric.kind == "counter" else name
