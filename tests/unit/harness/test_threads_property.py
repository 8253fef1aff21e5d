"""Two threads of one session in any order of steps and inputs: each has a valid conversation and comes to rest.

The steps are those that `decide` names, made from the functions of the runner; only the bus and the model are left out.
"""

import itertools
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.bus import events as ev
from holdfast.bus import status
from holdfast.bus.commits import Stored, commit
from holdfast.bus.head import PRIMARY_THREAD, Head, Thread
from holdfast.bus.ids import new_id
from holdfast.bus.inputs import ClientInput
from holdfast.harness.conversation.context import Contexts
from holdfast.harness.models.interface import Response
from holdfast.harness.models.to_events import ResponseEvents
from holdfast.harness.turn import decide, idle
from holdfast.scripted_model.validate import check
from tests.unit.harness.heads import CONFIG, ingested
from tests.unit.harness.responses import AGENT

CHILD = "sthr_2"
THREADS = (PRIMARY_THREAD, CHILD)
DONE = ev.StopReason("end_turn")
SHOWN = {
    ev.SessionStatusRunning: "running",
    ev.SessionStatusIdle: "idle",
}
RESPONSES = ("text", "bash", "ask_client", "two", "refusal", "failure", "lost")
"""What a model request comes to; `lost`: its owner dies."""

threads = st.sampled_from(THREADS)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("say"), threads),
        st.tuples(st.just("stop"), st.sampled_from((None, *THREADS))),
        st.tuples(st.just("answer"), threads),
        st.tuples(st.just("step"), threads, st.sampled_from(RESPONSES)),
        st.tuples(st.just("step"), threads, st.sampled_from(RESPONSES)),
    ),
    max_size=40,
)


class Session:
    """The log of a session with two threads, folded; each append is checked."""

    def __init__(self) -> None:
        self.number = itertools.count()
        made = commit(None, [CONFIG], by="test", new_id=new_id, now=1)
        self.last = Stored(1, made)
        self.contexts = Contexts()
        self.contexts.fold(self.last)
        self.shown = "idle"
        self.asked: dict[str, int] = {}
        """The number of items in the last request of each thread."""

    @property
    def head(self) -> Head:
        return self.last.commit.head

    def append(self, events: Sequence[ev.Event]) -> None:
        before = self.head
        made = commit(self.last, events, by="test", new_id=new_id, now=before.at + 1)
        self.last = Stored(self.last.seq + 1, made)
        self.contexts.fold(self.last)
        for event in events:
            self.shown = SHOWN.get(type(event), self.shown)
        assert self.shown == self.head.status
        for thread in THREADS:
            if all(e.thread != thread and not isinstance(e, ev.UserInterrupt) for e in events if _of_a_thread(e)):
                assert own(self.head, thread) == own(before, thread), "a thread is changed by its own events only"
            if self.contexts.thread(thread).items:
                check(
                    {
                        "model": "scripted",
                        "max_tokens": 10,
                        "messages": self.contexts.thread(thread).messages(),
                    }
                )

    def take(self, *events: Any) -> None:
        """Take one input of a client."""
        self.append(ingested(self.head, ClientInput(id=f"in{next(self.number)}", events=[*events])).events)

    def say(self, thread: str) -> None:
        text = f"message {next(self.number)}"
        self.take(ev.UserMessage(id=new_id("sevt"), thread=thread, content=[{"type": "text", "text": text}]))

    def stop(self, thread: str | None) -> None:
        named = None if thread is None else thread or CONFIG.primary_thread
        self.take(ev.UserInterrupt(id=new_id("sevt"), thread=thread or PRIMARY_THREAD, session_thread_id=named))

    def answer(self, thread: str) -> None:
        """Answer a call of the thread that waits for the client; the client does not name the thread."""
        calls = [c for c in self.head.calls if c.thread == thread and c.state == "client"]
        if calls:
            done: list[ev.Block] = [{"type": "text", "text": "done"}]
            self.take(ev.UserCustomToolResult(id=new_id("sevt"), custom_tool_use_id=calls[0].id, content=done))

    def step(self, thread: str, response: str) -> bool:
        """Make the next step of the thread. False if it rests."""
        head, state = self.head, self.head.thread(thread)
        if state.request and not state.interrupted and response != "lost":
            self.append(self._response(thread, state, response))
            return True
        match decide.decide(head, now=head.at, fresh_chars=0, limits=decide.Limits(), thread=thread):
            case decide.Release(stop=None):
                return False
            case decide.Release(stop=stop) if stop is not None:
                self.append(idle.idle(head, CONFIG, stop, now=head.at, thread=thread, new_id=new_id))
            case decide.Interrupt():
                self.append(idle.closed(head, CONFIG, DONE, now=head.at, thread=thread, new_id=new_id))
            case decide.Abandon():
                self.append(idle.close_request(head, stop="abandoned", thread=thread, new_id=new_id))
            case decide.RunTools():
                call = next(c for c in head.calls if c.thread == thread and c.state == "ready")
                self.append([ev.AgentToolResult(id=new_id("sevt"), thread=thread, tool_use_id=call.id)])
            case decide.Resume():
                self.append(status.running(head, CONFIG, thread=thread, new_id=new_id))
            case decide.CallModel():
                self.asked[thread] = len(self.contexts.thread(thread).items)
                self.append([ev.ModelRequestStart(id=new_id("sevt"), thread=thread)])
            case step:
                raise AssertionError(step)
        return True

    def settle(self) -> None:
        """Make steps until both threads rest."""
        for _ in range(200):
            if not any(self.step(thread, "text") for thread in THREADS):
                return
        raise AssertionError("the threads do not come to rest")

    def _response(self, thread: str, state: Thread, response: str) -> list[ev.Event]:
        items = self.contexts.thread(thread).items[self.asked[thread] :]
        missed = [item.id for item in items if item.kind == "user"]
        if response == "failure":
            return [*idle.close_request(self.head, stop="failed", thread=thread, new_id=new_id)]
        names = {"bash": ["bash"], "ask_client": ["ask_client"], "two": ["bash", "ask_client"]}.get(response, [])
        blocks: list[ev.Block] = [{"type": "text", "text": "said"}]
        blocks += [{"type": "tool_use", "id": new_id("toolu"), "name": name, "input": {}} for name in names]
        stop = "refusal" if response == "refusal" else "tool_use" if names else "end_turn"
        made = ResponseEvents(request=state.request, ids={}, thread=thread, new_id=new_id)
        events = made.response(Response(blocks, stop, ev.ModelUsage()), AGENT)
        ended = [_with_missed(e, missed) for e in events]
        if stop != "refusal":
            return ended
        refused = ev.StopReason("refusal")
        return idle.idle(self.head, CONFIG, refused, now=self.head.at, thread=thread, new_id=new_id, before=ended)


def _with_missed(event: ev.Event, missed: list[str]) -> ev.Event:
    if not isinstance(event, ev.ModelRequestEnd):
        return event
    return ev.ModelRequestEnd(
        id=event.id,
        thread=event.thread,
        model_request_start_id=event.model_request_start_id,
        model_usage=event.model_usage,
        stop=event.stop,
        missed=missed,
    )


def _of_a_thread(event: ev.Event) -> bool:
    """True if the event belongs to a thread, rather than to the session."""
    return not isinstance(event, ev.SessionStatusIdle | ev.SessionStatusRunning | ev.SessionUsage)


def own(head: Head, thread: str) -> tuple[Thread, list[Any]]:
    return head.thread(thread), [c for c in head.calls if c.thread == thread]


@given(operations)
@settings(max_examples=300, deadline=None)
def test_any_order_of_steps_leaves_each_thread_a_valid_conversation_and_comes_to_rest(plan: list[Any]) -> None:
    session = Session()
    for name, *arguments in plan:
        getattr(session, name)(*arguments)
    session.settle()
    head = session.head
    assert all(decide.decide(head, now=head.at, fresh_chars=0, limits=decide.Limits(), thread=t) == decide.Release()
               for t in head.threads)  # fmt: skip
    assert head.status == "idle"
    for thread in THREADS:
        waits = any(c.thread == thread for c in head.calls)
        assert waits or not head.thread(thread).todo


@given(operations)
@settings(max_examples=100, deadline=None)
def test_every_message_is_shown_to_the_model_before_its_thread_rests(plan: list[Any]) -> None:
    """Without interrupts and without calls that wait for the client, a thread answers all it was told."""
    session = Session()
    for name, *arguments in plan:
        if name == "stop":
            continue
        if name == "step" and arguments[1] in ("ask_client", "two"):
            arguments[1] = "bash"
        getattr(session, name)(*arguments)
    session.settle()
    for thread in THREADS:
        items = session.contexts.thread(thread).items
        assert not items or items[-1].kind == "assistant", [item.kind for item in items]
