"""The parts of the OpenTelemetry SDK that our spans need: chosen ids, the session on every span, a cheap resource."""

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from holdfast.process import spans


class ChosenIds(RandomIdGenerator):
    """Random ids, but for a span whose ids are chosen."""

    def generate_span_id(self) -> int:
        own = spans.forced.get()
        return own.span_id if own is not None else super().generate_span_id()

    def generate_trace_id(self) -> int:
        own = spans.forced.get()
        return own.trace_id if own is not None else super().generate_trace_id()

    def is_trace_id_random(self) -> bool:
        return spans.forced.get() is None


class HashedResource(Resource):
    """The same resource with its hash computed once: the exporter asks for it with each span, and the SDK makes JSON of
    all attributes each time.
    """

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


class SessionIds(SpanProcessor):
    """Sets the session of the context on each span that is started in it."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if session := spans.session_of(parent_context):
            span.set_attributes({
                spans.CONVERSATION: session, spans.SESSION: session, spans.ANTHROPIC_SESSION: session,
            })  # fmt: skip


def own_decision(remote: trace.SpanContext, name: str) -> trace.SpanContext:
    """The context of a caller with our own decision whether its trace is sampled: its flag must not silence us."""
    sampler = getattr(spans.provider(), "sampler", None)
    if sampler is None:
        return remote
    decision = sampler.should_sample(None, remote.trace_id, name).decision
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if decision.is_sampled() else trace.TraceFlags.DEFAULT)
    return trace.SpanContext(remote.trace_id, remote.span_id, True, flags, remote.trace_state)
