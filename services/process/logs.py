"""Structured logs: one JSON object a line on stderr, with the ids of the current trace, and with secrets replaced.

Of an exception only types and places are written (`tracebacks.py`): its text may repeat what somebody said in a
session. An error is logged once, where it is handled. `main` calls `setup` once; then `structlog.get_logger()` works
everywhere.
"""

import contextlib
import logging
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TextIO, cast

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, WrappedLogger

from holdfast.process import tracebacks

REDACTED: Final = "[redacted]"

_SECRET_NAME_END: Final = re.compile(
    r"(^|[_-])(api[_-]?key|key|token|secret|password|passwd|authorization|cookie|credential|private|signature)s?$",
    re.IGNORECASE,
)
"""Names whose value is replaced. The last word of the name decides: `api_keys` is one, `token_count` is not."""

_SECRET_NAME_PART: Final = re.compile(r"secret[_-]?id|x[_-]api[_-]key|session[_-]?cookie", re.IGNORECASE)
"""Parts of names whose value is replaced wherever they stand in the name."""

_MAX_DEPTH: Final = 6
"""Nesting of a value down to which its parts are looked at; below it the whole is written as text and scrubbed."""

_TOKEN: Final = re.compile(
    r"""(?x)
    (?: \b(?:sk-ant-|sk-|hf_|gh[spou]_|github_pat_|glpat-|xox[abprs]-|ya29\.|hvs\.|hvb\.|AKIA)[A-Za-z0-9_.\-]{8,}
      | \bwhsec_[A-Za-z0-9_.\-+/]{8,}={0,2}                    # secrets of webhooks: base64
      | \b[sb]\.[A-Za-z0-9]{20,}                                # OpenBao service and batch tokens
      | \beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]*)?   # JSON Web Tokens
      | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)                         # user and password in an address
      | (?i:(?<=bearer\ )|(?<=basic\ ))[A-Za-z0-9_.\-+/=]{8,}
    )"""
)
"""Tokens of known providers, recognised by their prefix anywhere in a text."""

_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


copies: Final[list[Callable[[Mapping[str, Any]], None]]] = []
"""Told of each line that is written, after its secrets were replaced."""


def scrub(text: str) -> str:
    """`text` with every token of a known kind replaced."""
    return _TOKEN.sub(REDACTED, text)


def _sanitize(value: Any, depth: int = 0) -> Any:
    match value:
        case str():
            return scrub(value)
        case bytes() | bytearray():
            return f"<{len(value)} bytes>"
        case Mapping() if depth < _MAX_DEPTH:
            return {
                str(key): REDACTED if is_secret_name(str(key)) else _sanitize(inner, depth + 1)
                for key, inner in cast("Mapping[Any, Any]", value).items()
            }
        case Sequence() if depth < _MAX_DEPTH:
            return [_sanitize(inner, depth + 1) for inner in cast("Sequence[Any]", value)]
        case None | bool() | int() | float():
            return value
        case _:
            return scrub(repr(value))


def is_secret_name(name: str) -> bool:
    """Whether the value of a field of that name is replaced."""
    return _SECRET_NAME_END.search(name) is not None or _SECRET_NAME_PART.search(name) is not None


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Structlog processor: replace secrets by name and by shape, and bytes by their number."""
    for key, value in event.items():
        event[key] = REDACTED if is_secret_name(key) else _sanitize(value)
    return event


def _trace_ids(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event


def _copy(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for tell in copies:
        tell(event)
    return event


def _exception_places(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Structlog processor: types and places of the exception instead of its text."""
    exc_info = event.pop("exc_info", None)
    exc = tracebacks.of_exc_info(sys.exc_info() if exc_info is True else exc_info)
    if exc is not None:
        event["exception"] = "\n".join(tracebacks.places(exc))
    return event


class _Stderr:
    """Stderr that drops a line which cannot be written, because the disk is full or the reader is gone.

    A log line must not end the process. Python may keep a part of a failed write and write it with the next line.
    """

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


class _Bridge(logging.Handler):
    """Passes the records of the standard `logging`, which libraries use, to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger().bind(source=record.name)
        exc = tracebacks.of_exc_info(record.exc_info)
        message = record.getMessage()
        if exc and record.name == "asyncio":  # it repeats the exception, and the arguments of a callback
            message = message.partition("\n")[0].partition("(")[0].strip()
        logger.log(record.levelno, message, **({"exc_info": exc} if exc else {}))


def _thread_ended(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else ""
    structlog.get_logger().error("a thread ended with an exception", thread=name, exc_info=args.exc_value)


def _not_raised(args: "sys.UnraisableHookArgs") -> None:
    structlog.get_logger().error("an exception could not be raised", exc_info=args.exc_value)


def setup(service: str, level: str = "info") -> None:
    """Configure structlog and the standard `logging` of this process. Raises ValueError for an unknown level."""
    if level not in _LEVELS:
        raise ValueError(f"log level must be one of {', '.join(_LEVELS)}")
    number = _LEVELS[level]

    def name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            name,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _trace_ids,
            _exception_places,
            redact,
            _copy,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(file=cast("TextIO", _Stderr())),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(max(number, logging.WARNING))
    threading.excepthook = _thread_ended
    sys.unraisablehook = _not_raised
