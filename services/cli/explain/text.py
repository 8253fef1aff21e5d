"""The text that `holdfast explain` prints. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from holdfast.cli.client.terminal.figures import count, duration, money
from holdfast.cli.explain.explanation import Explanation, Requests, Tokens, Turn
from holdfast.cli.sanitize import clean_line

STATE_TEXTS: Final = {
    "queue": "waiting for a harness",
    "model": "the model",
    "tools": "tools in the sandbox",
    "sandbox": "making a sandbox",
    "harness": "the harness",
    "retry": "pauses before the model is asked again",
    "client": "waiting for the client",
    "rest": "at rest",
    "ended": "archived or deleted",
}

SHOWN_TURNS: Final = 20
SHOWN_FAILURES: Final = 20
"""The last ones are shown; --json has all."""


def explanation_text(found: Explanation) -> str:
    """Several lines."""
    lines = [
        f"{found.session}: {found.status}, {count(found.commits)} commits, {count(found.events)} events",
        f"created {_time(found.created_at)}, last commit {_time(found.last_at)}",
        "",
        "Waits for",
        *_indented(found.waits_for),
        "",
        "Time",
        *_indented(_spent(found)),
        "",
        f"Model: {found.model or 'not in the catalogue'}",
        *_indented([_requests("requests", found.requests), _tokens(found.tokens, found.dollars)]),
    ]
    if found.tools:
        lines += ["", "Tools", *_indented(_requests(name, calls) for name, calls in sorted(found.tools.items()))]
    if found.turns:
        lines += ["", _title("Turns", len(found.turns), SHOWN_TURNS)]
        lines += _indented(_turn(found, turn) for turn in found.turns[-SHOWN_TURNS:])
    if found.drivers:
        lines += ["", "Driven by"]
        lines += _indented(
            f"{driver.name}: {_time(driver.first_at)} to {_time(driver.last_at)}, {driver.commits} commits,"
            f" {driver.claims} claims" + (f", {driver.takeovers} taken over" if driver.takeovers else "")
            for driver in found.drivers
        )
    if found.failures:
        lines += ["", _title("Failures", len(found.failures), SHOWN_FAILURES)]
        lines += _indented(f"{_time(f.at)} {f.kind}: {f.text}" for f in found.failures[-SHOWN_FAILURES:])
    return "\n".join(map(clean_line, lines))


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _title(name: str, total: int, shown: int) -> str:
    return name if total <= shown else f"{name} (the last {shown} of {total})"


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _spent(found: Explanation) -> list[str]:
    total = sum(found.spent.values()) or 1.0
    return [
        f"{duration(found.spent[state]):>12}  {found.spent[state] / total:>4.0%}  {text}"
        for state, text in STATE_TEXTS.items()
        if state in found.spent
    ]


def _requests(name: str, requests: Requests) -> str:
    failed = f", {count(requests.failed)} failed" if requests.failed else ""
    return (
        f"{name}: {count(requests.count)}{failed}, {duration(requests.seconds)} together,"
        f" the longest {duration(requests.longest)}"
    )


def _tokens(tokens: Tokens, dollars: float | None) -> str:
    cost = "price unknown" if dollars is None else money(dollars)
    cached = f", {count(tokens.cache_read)} read from the cache, {count(tokens.cache_write)} written to it"
    return f"tokens: {count(tokens.input)} in, {count(tokens.output)} out{cached}; {cost}"


def _turn(found: Explanation, turn: Turn) -> str:
    number = found.turns.index(turn) + 1
    took = duration(((turn.ended_at or found.now) - turn.began_at) / 1e6)
    waited = "" if turn.waited is None else f" after {duration(turn.waited)}"
    end = turn.stop or "running"
    return (
        f"{number}. {_time(turn.began_at)}{waited}: {took}, {end}, {turn.requests} requests, {turn.calls} calls,"
        f" {count(turn.tokens.input + turn.tokens.cache_read + turn.tokens.cache_write)} in,"
        f" {count(turn.tokens.output)} out, by {', '.join(turn.drivers)}"
    )
