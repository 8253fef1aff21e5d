"""The work that the fault tests interrupt: one call, then two at once, then an answer, all leaving traces."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.support.conversation import Talk
from tests.support.eventually import eventually
from tests.support.invariants import check, noted, runs
from tests.support.model import Json, say
from tests.support.stack import Stack

REQUESTS = 3
"""Model requests of the job when nothing goes wrong."""

RUNS = Counter({"one": 1, "two": 1, "three": 1})
"""Tool executions of the job, whatever goes wrong."""


def job(**first: Any) -> list[Json]:
    """The steps; `first` changes the first of them."""
    both = [*noted("two")["tools"], *noted("three")["tools"]]
    return [
        {"thinking": "One first.", "text": "I begin with one.", **noted("one"), **first},
        {"text": "Now two things at once.", "tools": both},
        say("All three are done."),
    ]


async def finished(stack: Stack, talk: Talk, mark: str, *, requests: int = REQUESTS) -> list[Any]:
    """Wait for the end of the job; checks that nothing was lost or done twice, and counts. Returns the history."""
    events = await talk.rests()
    await check(stack, talk)
    assert runs(stack, talk.id) == RUNS
    asked = await stack.model.requests(mark)
    assert len(asked) == requests, [(r.step, r.attempt, r.closed) for r in asked]
    answers = [b.text for e in events if e.type == "agent.message" for b in e.content]
    assert answers[-1] == "All three are done."
    spans = [e.type for e in events if e.type.startswith("span.model_request")]
    assert spans.count("span.model_request_start") == spans.count("span.model_request_end")
    return events


async def through_kills(
    stack: Stack, armed: Mapping[str, str], *, requests: int = REQUESTS, deaths: int = 2
) -> list[Any]:
    """Run the job on a stack whose harnesses kill themselves at a fault point; that many of them must have done so."""
    before = {name: stack.pid(name) for name in armed}
    mark = await stack.model.play(*job())
    async with stack.client() as client:
        talk = await Talk.begin(client)
        await talk.say(mark)
        events = await finished(stack, talk, mark, requests=requests)

        async def look() -> bool:
            return sum(stack.run.processes.get(name, pid) != pid for name, pid in before.items()) >= deaths

        await eventually(look, within=30, what=f"{deaths} deaths")
        again = await stack.model.play(say("Still here."))
        await talk.say(again)
        await talk.rests()
        await check(stack, talk)
    return events


def at(point: str, action: str = "kill") -> dict[str, str]:
    """Both harnesses do that at the point: the second takes the session over from the first and fares no better."""
    return {f"harness-{n}": f"harness.{point}:{action}" for n in (1, 2)}
