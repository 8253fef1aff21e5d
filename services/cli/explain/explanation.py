"""What `holdfast explain` finds out about a session. Pure.

Times are microseconds since 1970, durations are seconds.
"""

from typing import Final

import msgspec

OTHER_TOOL: Final = "custom tool"
"""Stands for a tool whose name a client has chosen."""


class Tokens(msgspec.Struct):
    """Cached tokens are not part of `input`."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0


class Requests(msgspec.Struct):
    """Requests to the model, or calls of one tool. `seconds` is the sum, `longest` of one of them."""

    count: int = 0
    failed: int = 0
    seconds: float = 0.0
    longest: float = 0.0

    def add(self, seconds: float, *, failed: bool) -> None:
        self.count += 1
        self.failed += failed
        self.seconds = round(self.seconds + seconds, 6)
        self.longest = max(self.longest, seconds)


class Turn(msgspec.Struct, kw_only=True):
    """From the start to the next rest. `waited`: from the client's request to the start; None: nobody asked."""

    began_at: int
    ended_at: int | None = None
    waited: float | None = None
    stop: str = ""
    requests: int = 0
    calls: int = 0
    tokens: Tokens = msgspec.field(default_factory=Tokens)
    drivers: list[str] = msgspec.field(default_factory=list[str])


class Driver(msgspec.Struct, kw_only=True):
    """A harness process. `takeovers`: sessions' claims that it took from another one."""

    name: str
    first_at: int
    last_at: int
    commits: int = 0
    claims: int = 0
    takeovers: int = 0


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """`kind`: `model`, `session`, `harness`, `sandbox`. `text` is made of names of ours."""

    at: int
    kind: str
    text: str


class Explanation(msgspec.Struct, kw_only=True):
    """`spent` are seconds by state; together they are the age of the session at its last commit, or now."""

    session: str
    status: str
    created_at: int
    last_at: int
    now: int
    commits: int
    events: int
    model: str
    """Its id in the catalogue; empty if it is not listed."""
    spent: dict[str, float]
    tokens: Tokens
    dollars: float | None
    """None: the model has no known price."""
    requests: Requests
    tools: dict[str, Requests]
    turns: list[Turn]
    drivers: list[Driver]
    failures: list[Failure]
    waits_for: list[str]
    """Sentences: what has to happen next, and who owes it."""
