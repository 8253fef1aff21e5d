"""The checks at the end of the demo. They use the stored log, the files and the model's own count of its requests."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx2
import msgspec

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored
from holdfast.cli.demo import repository
from holdfast.scripted_model.journal import Record


class Check(msgspec.Struct, frozen=True):
    """A claim, whether it holds, and the figures that show it."""

    claim: str
    holds: bool
    why: str


async def model_requests(base_url: str) -> list[Record]:
    """The requests the scripted model has counted."""
    async with httpx2.AsyncClient(base_url=base_url) as client:
        answer = await client.get("/_requests")
    return msgspec.json.decode(answer.content, type=list[Record])


def check(
    log: Sequence[Stored], sent: Sequence[str], workspace: Path, requests: Sequence[Record] | None
) -> list[Check]:
    """All checks. `requests` is None with a real model, because it does not report how many requests it got."""
    events = [e for stored in log for e in stored.commit.events]
    ids = Counter(e.id for e in events)
    calls = [e for e in events if isinstance(e, ev.AgentToolUse)]
    results = Counter(e.tool_use_id for e in events if isinstance(e, ev.AgentToolResult))
    started = sum(isinstance(e, ev.ModelRequestStart) for e in events)
    head = log[-1].commit.head
    said = f"{len(events)} events in {len(log)} commits, each once; the head counts {head.count}"
    whole = max(ids.values()) == 1 and head.count == len(events) and all(ids[i] == 1 for i in sent)
    once = all(results[c.id] == 1 for c in calls) and len(results) == len(calls)
    ran = repository.runs(workspace)
    asked = [c for c in calls if "unittest" in str(c.input.get("command", ""))]
    green = [e for e in events if isinstance(e, ev.AgentToolResult) and _is_green(e)]
    checks = [
        Check("nothing is lost", whole, said),
        Check("each tool call has one result", once, f"{len(calls)} calls, {sum(results.values())} results"),
        Check(
            "no tool ran twice", ran == len(asked), f"the tests were run {len(asked)} times by the log, {ran} in fact"
        ),
        Check("the tests pass", bool(green) and repository.tests_are_unchanged(workspace), "their file is unchanged"),
        Check("the session is at rest", head.status == "idle" and head.claim is None, f"{head.status}, unclaimed"),
    ]
    if requests is not None:
        answered = sum(r.status == 200 and not r.closed for r in requests)
        cut = sum(r.closed for r in requests)
        why = f"{len(requests)} requests, {answered} answered, {cut} cut off by the kill; the log has {started}"
        checks.insert(1, Check("no answer was paid for twice", len(requests) == started == answered + cut, why))
    return checks


def _is_green(result: ev.AgentToolResult) -> bool:
    text = "".join(str(b.get("text", "")) for b in result.content or ())
    return not result.is_error and "Ran " in text and text.rstrip().endswith("OK")
