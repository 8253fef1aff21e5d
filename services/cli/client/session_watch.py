"""Following one session until it rests: events, questions to the person, Ctrl-C, all in one loop."""

import asyncio
import contextlib
import signal
from collections import deque
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing
from typing import Any, Final, Literal

import anthropic
import msgspec
from anthropic import AsyncAnthropic

from holdfast.cli.client import questions, session_state
from holdfast.cli.client.event_stream import event_stream
from holdfast.cli.client.terminal.prompt import NobodyThere, ask
from holdfast.cli.client.terminal.view import View

FAILURES: Final = {
    "retries_exhausted": "failed",
    "refusal": "the model refused to go on",
    "budget_reached": "the budget of the session is used up",
}
"""Stop reasons that are failures, in words."""

STATUS_WITHIN: Final = 5.0
"""Seconds to ask the API for the status of a session that is left."""

End = Literal["done", "failed", "waits", "interrupted", "left", "gone"]


class Outcome(msgspec.Struct, frozen=True):
    """How a watch ended."""

    end: End
    why: str = ""
    """In words, for people."""
    stop_reason: str | None = None
    """As the API has it."""
    questions: Sequence[Any] = ()
    """The calls that wait for a client."""


class _Key(msgspec.Struct, frozen=True):
    """`leave` is Ctrl-\\ or a signal to end; `interrupt` is Ctrl-C."""

    what: Literal["interrupt", "leave"]


class _Answered(msgspec.Struct, frozen=True):
    answers: list[dict[str, Any]] | None
    """None when there is nobody to answer."""


class SessionWatch:
    """`until_rest` is called once. With `interrupts` Ctrl-C interrupts the agent first, else it only leaves.

    `asks`: a person may be asked. `own` gets the ids of all events that are sent.
    """

    def __init__(
        self, client: AsyncAnthropic, session: str, view: View, own: set[str], *, interrupts: bool, asks: bool
    ) -> None:
        self._client = client
        self._session = session
        self._view = view
        self._own = own
        self._interrupts = interrupts
        self._asks = asks
        self._heard: asyncio.Queue[Any] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls: dict[str, Any] = {}
        self._always: set[str] = set()
        """Tools that may be called without a question from now on."""
        self._asking: asyncio.Task[None] | None = None
        self._asked: set[str] = set()
        self._interrupting = False
        self._interrupted = False
        self._awaited: set[str] = set()
        """Messages that were sent and have not been taken in: no rest before them counts."""
        self._failed = False

    @contextlib.contextmanager
    def keys(self) -> Generator[None]:
        """Ctrl-C and Ctrl-\\ are heard within, and no longer end the program."""
        loop = asyncio.get_running_loop()
        keys = {signal.SIGINT: _Key("interrupt"), signal.SIGQUIT: _Key("leave"), signal.SIGTERM: _Key("leave")}
        for number, key in keys.items():
            loop.add_signal_handler(number, self._heard.put_nowait, key)
        try:
            yield
        finally:
            for number in keys:
                loop.remove_signal_handler(number)

    async def send(self, events: Sequence[Any]) -> None:
        """Send events; the watch does not end before the messages among them were taken in."""
        sent = await self._client.beta.sessions.events.send(self._session, events=[*events])
        for event in sent.data or ():
            self._own.add(event.id)
            if event.type == "user.message":
                self._awaited.add(event.id)

    async def ask(self, calls: Sequence[Any]) -> list[dict[str, Any]] | None:
        """The answers of the person to the open questions; None when there is nobody, or Ctrl-C was pressed."""
        self._ask(calls)
        while True:
            match await self._heard.get():
                case _Answered(answers):
                    self._asking = None
                    return answers
                case _Key():
                    await self._withdraw()
                    return None
                case _:
                    pass

    async def until_rest(self, after: str, events: Sequence[Any] = ()) -> Outcome:  # noqa: C901, PLR0912  one case an item
        """Show every event behind `after` until the session rests or the person leaves. First `events` are sent.

        Raises the errors of the SDK when the session is gone or the API stays away.
        """
        opened = asyncio.Event()
        pump = asyncio.create_task(self._pump(after, opened))
        deferred: deque[Any] = deque()
        try:
            if events:
                await opened.wait()  # what answers them is then shown from its first word
                await self.send(events)
            while True:
                item = deferred.popleft() if deferred and self._asking is None else await self._heard.get()
                match item:
                    case _Key(what):
                        if outcome := await self._pressed(what):
                            return outcome
                    case _Answered(answers):
                        self._asking = None
                        if answers is None:
                            return await self._waits()
                        await self._answer(answers)
                    case BaseException():
                        raise item
                    case event if self._asking is not None:
                        deferred.append(event)
                        if self._settles(event):
                            await self._withdraw()
                            self._view.note("that was answered elsewhere")
                    case event:
                        if outcome := await self._event(event):
                            return outcome
        finally:
            await self._withdraw()
            for task in (pump, *self._tasks):
                task.cancel()
            await asyncio.gather(pump, *self._tasks, return_exceptions=True)

    async def _pump(self, after: str, opened: asyncio.Event) -> None:
        events: AsyncGenerator[Any] = event_stream(
            self._client, self._session, after, deltas=True, note=self._view.connection, opened=opened.set
        )
        try:
            async with aclosing(events):
                async for event in events:
                    self._heard.put_nowait(event)
        except Exception as exc:  # noqa: BLE001  raised again by the one who waits
            self._heard.put_nowait(exc)
            opened.set()

    # --- events ---

    async def _event(self, event: Any) -> Outcome | None:
        self._view.event(event)
        match event.type:
            case "user.message":
                self._awaited.discard(event.id)
            case "user.interrupt":
                self._interrupted = True
            case "agent.tool_use" | "agent.custom_tool_use":
                self._calls[event.id] = event
            case "span.model_request_end" if not event.is_error:
                self._failed = False
            case "session.error":
                self._failed = event.error.retry_status.type in ("exhausted", "terminal")
            case "session.status_terminated":
                return Outcome("failed", "the session has ended")
            case "session.deleted":
                return Outcome("failed", "the session was deleted")
            case "session.status_idle":
                return await self._idle(event)
            case _:
                pass
        return None

    async def _idle(self, event: Any) -> Outcome | None:
        stop = event.stop_reason.type
        if stop == "requires_action":
            if self._interrupting:
                return None  # the interrupt closes these calls
            found = await session_state.tool_calls_by_id(
                self._client, self._session, event.stop_reason.event_ids, [*self._calls.values()]
            )
            self._ask(found)
            return None
        if self._interrupting and self._interrupted:
            return Outcome("interrupted", stop_reason=stop)
        if self._awaited:
            return None  # the end of what ran before our message
        late = "it had ended before the interrupt arrived" if self._interrupting else ""
        if stop in FAILURES or self._failed:
            explained = getattr(getattr(event, "stop_details", None), "explanation", None)
            return Outcome("failed", explained or FAILURES.get(stop, "failed"), stop)
        return Outcome("done", late, stop)

    # --- questions ---

    def _ask(self, calls: Sequence[Any]) -> None:
        self._asked = {call.id for call in calls}
        self._calls.update({call.id: call for call in calls})
        self._asking = asyncio.create_task(self._ask_all(calls))

    async def _ask_all(self, calls: Sequence[Any]) -> None:
        answers: list[dict[str, Any]] = []
        try:
            for call in calls:
                if call.name in self._always and not questions.wants_result(call):
                    answers.append(questions.allow(call))
                    continue
                if not self._asks:
                    raise NobodyThere  # noqa: TRY301
                with self._view.hidden():
                    self._view.ask_about(call)
                    given = questions.reply(call, await ask(questions.question(call)))
                if given.always:
                    self._always.add(call.name)
                    self._view.note(f"{call.name} is allowed without a question until this command ends")
                answers.append(given.event)
        except NobodyThere:
            self._heard.put_nowait(_Answered(None))
        else:
            self._heard.put_nowait(_Answered(answers))

    async def _answer(self, answers: list[dict[str, Any]]) -> None:
        try:
            await self.send(answers)
        except anthropic.BadRequestError:
            self._view.note("the answer came too late: the question was answered elsewhere")

    async def _withdraw(self) -> None:
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    def _settles(self, event: Any) -> bool:
        """Whether the event shows that the open question needs no answer any more."""
        match event.type:
            case "user.tool_confirmation" | "agent.tool_result":
                return event.tool_use_id in self._asked
            case "user.custom_tool_result":
                return event.custom_tool_use_id in self._asked
            case "session.status_terminated" | "session.deleted" | "session.status_running":
                return True
            case _:
                return False

    async def _waits(self) -> Outcome:
        return Outcome("waits", stop_reason="requires_action", questions=[self._calls[id_] for id_ in self._asked])

    # --- keys ---

    async def _pressed(self, what: str) -> Outcome | None:
        is_asking = self._asking is not None
        await self._withdraw()
        if is_asking and (what == "leave" or not self._interrupts):
            return await self._waits()
        if what == "leave" or not self._interrupts or self._interrupting:
            return Outcome("left", await self._status())
        self._interrupting = True
        self._view.note("interrupting; Ctrl-C again leaves without waiting")
        task = asyncio.create_task(self._interrupt())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return None

    async def _interrupt(self) -> None:
        try:
            await self._client.beta.sessions.events.send(self._session, events=[{"type": "user.interrupt"}])
        except anthropic.APIError as exc:
            self._view.note(f"the interrupt could not be sent: {exc.message}")

    async def _status(self) -> str:
        """What the session does now, in words."""
        asking = self._client.with_options(max_retries=0, timeout=STATUS_WITHIN)
        try:
            status = (await asking.beta.sessions.retrieve(self._session)).status
        except anthropic.APIError:
            return "the API does not answer, so it is not known whether the agent still works"
        if status in ("running", "rescheduling"):
            return "the agent goes on working"
        return "the agent does not work any more" if status == "idle" else "the session has ended"
