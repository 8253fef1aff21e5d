"""The turn that the fault tests interrupt: one tool call, two calls at once, a final message. Calls are journaled."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.support.conversation import Conversation
from tests.support.eventually import eventually
from tests.support.invariants import check_invariants, journaled, tool_runs
from tests.support.model import Json, say
from tests.support.stack import Stack

REQUESTS = 3
"""Model requests of the workload when nothing is interrupted."""

RUNS = Counter({"one": 1, "two": 1, "three": 1})
"""Tool executions of the workload, whatever is interrupted."""


def workload(**first: Any) -> list[Json]:
    """The steps for the scripted model; `first` overrides fields of the first one."""
    both = [*journaled("two")["tools"], *journaled("three")["tools"]]
    return [
        {"thinking": "One first.", "text": "I begin with one.", **journaled("one"), **first},
        {"text": "Now two things at once.", "tools": both},
        say("All three are done."),
    ]


async def workload_finished(
    stack: Stack, conversation: Conversation, mark: str, *, requests: int = REQUESTS, dropped: int = 0
) -> list[Any]:
    """Wait for the end of the workload; check the invariants and count runs and requests. Returns the history.

    `dropped`: most requests beyond `requests` that were sent beside the append of their start, and died unread.
    """
    events = await conversation.until_idle()
    await check_invariants(stack, conversation)
    assert tool_runs(stack, conversation.id) == RUNS
    asked = await stack.model.requests(mark)
    assert requests <= len(asked) <= requests + dropped, [(r.step, r.attempt, r.closed) for r in asked]
    answers = [b.text for e in events if e.type == "agent.message" for b in e.content]
    assert answers[-1] == "All three are done."
    spans = [e.type for e in events if e.type.startswith("span.model_request")]
    assert spans.count("span.model_request_start") == spans.count("span.model_request_end")
    return events


async def workload_survives_kills(
    stack: Stack,
    armed: Mapping[str, str],
    *,
    requests: int = REQUESTS,
    dropped: int = 0,
    deaths: int = 2,
    **first: Any,
) -> list[Any]:
    """Run the workload on a stack whose harnesses are armed with kills; at least `deaths` of them must have died.

    `first` overrides fields of the first step; `dropped` as in `workload_finished`.
    """
    before = {name: stack.pid(name) for name in armed}
    mark = await stack.model.play(*workload(**first))
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        events = await workload_finished(stack, conversation, mark, requests=requests, dropped=dropped)

        async def look() -> bool:
            return sum(stack.run.processes.get(name, pid) != pid for name, pid in before.items()) >= deaths

        await eventually(look, within=30, what=f"{deaths} deaths")
        again = await stack.model.play(say("Still here."))
        await conversation.say(again)
        await conversation.until_idle()
        await check_invariants(stack, conversation)
    return events


def fault_at(point: str, action: str = "kill") -> dict[str, str]:
    """Arm both harnesses with `action` at the fault point: the one that takes over is stopped at the same place."""
    return {f"harness-{n}": f"harness.{point}:{action}" for n in (1, 2)}
