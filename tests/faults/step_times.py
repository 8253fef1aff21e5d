"""How long tool steps took, and how long while something else was happening. Pure."""

import math
from collections.abc import Iterable, Sequence

from msgspec import Struct

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored


class Step(Struct, frozen=True):
    """One tool step: from the commit with the call to the commit with its result (microseconds since 1970)."""

    began_at: int
    ended_at: int

    @property
    def seconds(self) -> float:
        return (self.ended_at - self.began_at) / 1e6


class Interval(Struct, frozen=True):
    """Something that went on from one time to another (microseconds since 1970)."""

    name: str
    began_at: int
    ended_at: int

    def overlaps(self, step: Step) -> bool:
        return step.began_at < self.ended_at and self.began_at < step.ended_at


def steps_of(log: Iterable[Stored]) -> list[Step]:
    """The finished tool steps of a session, in the order of their ends."""
    began: dict[str, int] = {}
    steps: list[Step] = []
    for stored in log:
        for event in stored.commit.events:
            if isinstance(event, ev.AgentToolUse):
                began[event.id] = stored.commit.at
            elif isinstance(event, ev.AgentToolResult) and event.tool_use_id in began:
                steps.append(Step(began.pop(event.tool_use_id), stored.commit.at))
    return steps


def percentile(steps: Sequence[Step], share: float) -> float:
    """The duration in seconds that `share` (0 to 1) of the steps do not exceed; 0 without steps."""
    ordered = sorted(step.seconds for step in steps)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def described(steps: Sequence[Step]) -> str:
    """Median, 95th percentile and longest step in milliseconds, and their number."""
    half, most, all_ = (percentile(steps, share) * 1e3 for share in (0.5, 0.95, 1.0))
    return f"p50 {half:.1f} ms, p95 {most:.1f} ms, longest {all_:.0f} ms, {len(steps)} steps"


def beside(steps: Sequence[Step], intervals: Sequence[Interval]) -> list[Step]:
    """The steps that overlap one of the intervals."""
    return [step for step in steps if any(interval.overlaps(step) for interval in intervals)]
