"""Explains a session from the outlines of its commits: where time and tokens went, who drove it, what failed. Pure.

Between two commits a session is in the state that the head of the first one tells, so the sum over all pairs is its
whole life. Nothing is known of what was said, and nothing is guessed.
"""

from collections.abc import Callable, Sequence
from typing import Final

from holdfast.bus.head import Call, Head
from holdfast.bus.ids import time_of
from holdfast.bus.outline import CommitOutline, EventOutline, state_of
from holdfast.bus.tools import EXECUTABLE
from holdfast.cli.explain.explanation import OTHER_TOOL, Driver, Explanation, Failure, Requests, Tokens, Turn
from holdfast.cli.explain.next_step import waits_for
from holdfast.process.model_facts import ModelCatalogue

_CLIENT_EVENTS: Final = frozenset(
    ("user.message", "user.interrupt", "user.tool_confirmation", "user.custom_tool_result")
)

STATES: Final = ("queue", "model", "tools", "sandbox", "harness", "retry", "client", "rest", "ended")
"""What time is spent on. `queue`: a client has asked, and no harness has begun."""


def tool_name(name: str) -> str:
    """The name of one of our tools; another one is chosen by a client, and is not shown."""
    return name if name in EXECUTABLE else OTHER_TOOL


class _Analysis:
    """Folds the commits of one session, in order."""

    def __init__(self) -> None:
        self.spent_us: dict[str, int] = dict.fromkeys(STATES, 0)
        self.tokens = Tokens()
        self.requests = Requests()
        self.tools: dict[str, Requests] = {}
        self.turns: list[Turn] = []
        self.drivers: dict[str, Driver] = {}
        self.failures: list[Failure] = []
        self.models: list[str] = []
        self._before: CommitOutline | None = None
        self._started: dict[str, int] = {}
        """When each open model request was started."""
        self._ready: dict[str, tuple[str, int]] = {}
        """Name of each open call that may run, and since when."""

    def add(self, commit: CommitOutline) -> None:
        before = self._before.head if self._before else Head()
        if self._before is not None:
            self.spent_us[state_of(before)] += max(commit.at - self._before.at, 0)
        self._note_driver(before, commit)
        for index, event in enumerate(commit.events):
            self._note_event(before, commit, event, commit.at + index)
        self._note_calls(commit)
        self._before = commit

    @property
    def _turn(self) -> Turn | None:
        return self.turns[-1] if self.turns and self.turns[-1].ended_at is None else None

    def _fail(self, at: int, kind: str, text: str) -> None:
        self.failures.append(Failure(at=at, kind=kind, text=text))

    # --- who ---------------------------------------------------------------------------------------------------------

    def _note_driver(self, before: Head, commit: CommitOutline) -> None:
        """A commit is a harness's if there is a claim before or after it that names its writer."""
        claims = [claim for claim in (before.claim, commit.head.claim) if claim is not None and claim.by == commit.by]
        if not claims:
            return
        driver = self.drivers.setdefault(
            commit.by, Driver(name=commit.by, first_at=commit.at, last_at=commit.at)
        )  # fmt: skip
        driver.last_at = commit.at
        driver.commits += 1
        if self._turn is not None and commit.by not in self._turn.drivers:
            self._turn.drivers.append(commit.by)
        earlier, claim = before.claim, commit.head.claim
        if claim is None or (earlier is not None and earlier.id == claim.id):
            return
        driver.claims += 1
        if earlier is not None:
            driver.takeovers += 1
            still = (commit.at - before.updated) / 1e6
            self._fail(commit.at, "harness", f"{earlier.by} gave no sign; {commit.by} took over after {still:.1f} s")

    # --- what --------------------------------------------------------------------------------------------------------

    def _note_event(  # noqa: C901  one case a type
        self, before: Head, commit: CommitOutline, event: EventOutline, at: int
    ) -> None:
        match event.kind:
            case "holdfast.session" if event.agent is not None:
                self.models.append(event.agent.model.id)
            case "session.status_running" if self._turn is None:
                self._begin_turn(commit, at)
            case "session.status_idle" if self._turn is not None:
                self._turn.stop = event.stop_reason.type if event.stop_reason else ""
                self._turn.ended_at = at
            case "span.model_request_start":
                self._started[event.id] = at
            case "span.model_request_end":
                self._end_request(event, at)
            case "agent.tool_use" | "agent.custom_tool_use" if self._turn is not None:
                self._turn.calls += 1
            case "agent.tool_result":
                self._end_call(event, at)
            case "session.error" if event.error is not None:
                retry = event.error.retry_status.type
                self._fail(at, "session", event.error.type + (f" ({retry})" if retry else ""))
            case "holdfast.hand_lost":
                lost = [call for call in before.calls if call.generation == event.generation]
                if lost:
                    self._fail(at, "sandbox", f"it was lost with {len(lost)} open calls: {event.reason}")
            case _:
                pass

    def _begin_turn(self, commit: CommitOutline, at: int) -> None:
        asked = [time_of(event.id) for event in commit.events if event.kind in _CLIENT_EVENTS]
        waited: float | None = None
        if (first := min((when for when in asked if when), default=None)) is not None:
            begin = max(first, self._before.at if self._before else first)
            state = state_of(self._before.head) if self._before else "rest"
            queued = max(0, min(commit.at - begin, self.spent_us[state]))
            self.spent_us[state] -= queued
            self.spent_us["queue"] += queued
            waited = max(0, commit.at - first) / 1e6
        self.turns.append(Turn(began_at=at, waited=waited, drivers=[commit.by]))

    def _end_request(self, event: EventOutline, at: int) -> None:
        began_at = self._started.pop(event.model_request_start_id, at)
        failed = bool(event.is_error) and event.model_stop not in ("interrupted", "abandoned")
        self.requests.add((at - began_at) / 1e6, failed=failed)
        if failed:
            self._fail(at, "model", "a request failed")
        if self._turn is not None:
            self._turn.requests += 1
        if (usage := event.model_usage) is not None:
            for tokens in (self.tokens, *([self._turn.tokens] if self._turn else ())):
                tokens.input += usage.input_tokens
                tokens.output += usage.output_tokens
                tokens.cache_read += usage.cache_read_input_tokens
                tokens.cache_write += usage.cache_creation_input_tokens

    def _end_call(self, event: EventOutline, at: int) -> None:
        if (found := self._ready.pop(event.tool_use_id, None)) is not None:
            name, since = found
            self.tools.setdefault(tool_name(name), Requests()).add((at - since) / 1e6, failed=bool(event.is_error))

    def _note_calls(self, commit: CommitOutline) -> None:
        """A call counts from when it may run: what it waited for a person before is not its time."""
        for call in commit.head.calls:
            if call.state == "ready":
                self._ready.setdefault(call.id, (call.name, commit.at))


def explain(
    session: str,
    commits: Sequence[CommitOutline],
    *,
    now: int,
    waiting: int,
    catalogue: ModelCatalogue,
) -> Explanation:
    """Explain the session with these commits, of which there is at least one.

    `waiting`: inputs in the inbox that are not in the log.
    """
    found = _Analysis()
    for commit in commits:
        found.add(commit)
    last, head = commits[-1], commits[-1].head
    found.spent_us[state_of(head)] += max(now - last.at, 0)
    model = (catalogue.name(found.models[-1]) if found.models else "") or ""
    facts = catalogue.find(model)
    tokens = found.tokens
    dollars = facts.price.of(**_fields(tokens)) if facts and facts.price else None
    return Explanation(
        session=session,
        status=head.status,
        created_at=head.created or commits[0].at,
        last_at=last.at,
        now=now,
        commits=len(commits),
        events=head.count,
        model=model,
        spent={state: us / 1e6 for state, us in found.spent_us.items() if us},
        tokens=tokens,
        dollars=dollars,
        requests=found.requests,
        tools=found.tools,
        turns=found.turns,
        drivers=list(found.drivers.values()),
        failures=found.failures,
        waits_for=waits_for(last, now=now, waiting=waiting, since=_since(commits), tool_name=tool_name),
    )


def _fields(tokens: Tokens) -> dict[str, int]:
    return {
        "input": tokens.input, "output": tokens.output, "cache_read": tokens.cache_read,
        "cache_write": tokens.cache_write,
    }  # fmt: skip


def _since(commits: Sequence[CommitOutline]) -> Callable[[Call], int]:
    """When a call that is open now came into its present state."""

    def since(call: Call) -> int:
        at = commits[-1].at
        for commit in reversed(commits):
            if not any(other.id == call.id and other.state == call.state for other in commit.head.calls):
                break
            at = commit.at
        return at

    return since
