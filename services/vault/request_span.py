"""The span of a request to the vault, below that of its caller: the name of the verb, and nothing of its body."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from opentelemetry.trace import SpanKind, StatusCode

from holdfast.process import metrics, spans

METHOD: Final = "rpc.method"
"""The verb of the request, by the conventions of OpenTelemetry for remote calls."""


@contextmanager
def request_span(operation: str) -> Generator[None]:
    """The span lasts as long as the block. An exception is named by its type: its text may hold what was sent."""
    if not spans.are_recorded():
        yield
        return
    with spans.tracer().start_as_current_span(
        f"vault {operation}", kind=SpanKind.SERVER, attributes={METHOD: operation},
        record_exception=False, set_status_on_exception=False,
    ) as span:  # fmt: skip
        try:
            yield
        except BaseException as exc:
            failed = type(exc).__name__
            span.set_attribute(metrics.ERROR, failed)
            span.set_status(StatusCode.ERROR, failed)
            raise
