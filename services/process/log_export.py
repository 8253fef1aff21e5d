"""Log lines as log records by OTLP. Only `telemetry.py` imports this: it loads the SDK.

The SDK still calls its log records private (`_logs`), so its minor version is pinned.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

_SEVERITIES: Final = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}

_OWN_FIELDS: Final = frozenset({"event", "level", "timestamp", "service", "trace_id", "span_id", "exception"})
"""Fields of a line that have a place of their own in a log record, or in the resource."""


Send = Callable[[Mapping[str, Any]], None]


def log_export(resource: Resource, *, timeout_s: float) -> tuple[Send, Callable[[], None]]:
    """What sends a line, after its secrets were replaced; and what sends the last ones and ends it."""
    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(timeout=timeout_s)))
    logger = provider.get_logger("holdfast")

    def send(line: Mapping[str, Any]) -> None:
        if str(line.get("source", "")).startswith("opentelemetry"):
            return  # of an exporter that fails: each failure would make another line to send
        level = str(line.get("level", "info"))
        logger.emit(
            timestamp=time.time_ns(),
            severity_number=_SEVERITIES.get(level, SeverityNumber.INFO),
            severity_text=level,
            body=str(line.get("event", "")),
            attributes=attributes_of(line),
        )

    return send, provider.shutdown


def attributes_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a line. An exception has those of the convention; lists and objects become JSON."""
    found = {name: _plain(value) for name, value in line.items() if name not in _OWN_FIELDS and value is not None}
    if exception := str(line.get("exception", "")):
        found["exception.type"] = exception.partition("\n")[0]
        found["exception.stacktrace"] = exception
    return found


def _plain(value: Any) -> str | bool | int | float:
    return value if isinstance(value, str | bool | int | float) else json.dumps(value, default=str)
