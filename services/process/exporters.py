"""Which signals the standard OTEL_* variables ask for, and how. Pure.

An endpoint of OTLP switches traces and metrics on. `OTEL_METRICS_EXPORTER` and `OTEL_TRACES_EXPORTER` choose otherwise:
`none` switches a signal off, `prometheus` serves the metrics on `/metrics`; several are separated by commas. Logs are
sent only if `OTEL_LOGS_EXPORTER` is `otlp`: they are on stderr in any case, and most collectors read them there.
"""

from collections.abc import Mapping
from typing import Final

_KNOWN: Final = {"traces": {"otlp", "none"}, "metrics": {"otlp", "prometheus", "none"}, "logs": {"otlp", "none"}}


def exporters(signal: str, environ: Mapping[str, str]) -> frozenset[str]:
    """The exporters of `traces`, `metrics` or `logs`; empty: the signal is off. Raises ValueError with the variable."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return frozenset()
    name = f"OTEL_{signal.upper()}_EXPORTER"
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    given = {word.strip().lower() for word in environ.get(name, "").split(",") if word.strip()}
    if unknown := given - _KNOWN[signal]:
        raise ValueError(f"{name}: {min(unknown)[:40]!r} is not one of {', '.join(sorted(_KNOWN[signal]))}")
    found = given - {"none"} if given or signal == "logs" else {"otlp"}
    if not any(environ.get(endpoint) for endpoint in endpoints):
        found = found - {"otlp"}  # nowhere to send it: the default address of OTLP is not meant by a silent setting
    return frozenset(found)
