"""Watches one session until it is idle: its events, questions to the person, and Ctrl-C, in one loop."""

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

from holdfast.cli.client import session_state
from holdfast.cli.client.event_stream import event_stream
from holdfast.cli.client.outcome import FAILED_STOP_REASONS, Outcome
from holdfast.cli.client.questioner import Answered, Questioner
from holdfast.cli.client.terminal.view import View

STATUS_TIMEOUT_S: Final = 5.0
"""Seconds to wait for the status of a session that the person leaves."""


class _Key(msgspec.Struct, frozen=True):
    """`leave` is Ctrl-\\ or a signal to end; `interrupt` is Ctrl-C."""

    what: Literal["interrupt", "leave"]


class SessionWatch:
    """Watches one session; `until_idle` is called once.

    With `interrupts` the first Ctrl-C interrupts the agent, otherwise it ends the watch. Without `asks` no question is
    asked. The ids of all events that are sent are added to `own`.
    """

    def __init__(
        self, client: AsyncAnthropic, session: str, view: View, own: set[str], *, interrupts: bool, asks: bool
    ) -> None:
        self._client = client
        self._session = session
        self._view = view
        self._own = own
        self._interrupts = interrupts
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        """Events, keys, answers of the person, and an exception when the event stream fails."""
        self._questioner = Questioner(view, self._inbox, asks=asks)
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls: dict[str, Any] = {}
        self._interrupting = False
        self._interrupted = False
        self._awaited: set[str] = set()
        """Ids of messages that were sent and are not in the log yet. The watch does not end before they are."""
        self._failed = False

    @contextlib.contextmanager
    def keys(self) -> Generator[None]:
        """Within the block Ctrl-C, Ctrl-\\ and SIGTERM go to the watch and do not end the program."""
        loop = asyncio.get_running_loop()
        keys = {signal.SIGINT: _Key("interrupt"), signal.SIGQUIT: _Key("leave"), signal.SIGTERM: _Key("leave")}
        for number, key in keys.items():
            loop.add_signal_handler(number, self._inbox.put_nowait, key)
        try:
            yield
        finally:
            for number in keys:
                loop.remove_signal_handler(number)

    async def send(self, events: Sequence[Any]) -> None:
        """Send events. The watch does not end before the messages among them are in the log."""
        sent = await self._client.beta.sessions.events.send(self._session, events=[*events])
        for event in sent.data or ():
            self._own.add(event.id)
            if event.type == "user.message":
                self._awaited.add(event.id)

    async def ask(self, calls: Sequence[Any]) -> list[dict[str, Any]] | None:
        """The answers of the person to the open questions; None if there is nobody to ask or Ctrl-C was pressed."""
        self._ask(calls)
        while True:
            match await self._inbox.get():
                case Answered(answers):
                    self._questioner.close()
                    return answers
                case _Key():
                    await self._questioner.withdraw()
                    return None
                case _:
                    pass

    async def until_idle(self, after: str, events: Sequence[Any] = ()) -> Outcome:  # noqa: C901, PLR0912  one case an item
        """Send `events`, then show every event after `after` until the session is idle or the person leaves.

        Raises the errors of the SDK if the session was deleted or the API does not answer any more.
        """
        opened = asyncio.Event()
        pump = asyncio.create_task(self._pump(after, opened))
        deferred: deque[Any] = deque()
        try:
            if events:
                await opened.wait()  # so that the answer is shown from its first word
                await self.send(events)
            while True:
                item = deferred.popleft() if deferred and not self._questioner.is_open else await self._inbox.get()
                match item:
                    case _Key(what):
                        if outcome := await self._pressed(what):
                            return outcome
                    case Answered(answers):
                        self._questioner.close()
                        if answers is None:
                            return self._waits()
                        await self._send_answers(answers)
                    case BaseException():
                        raise item
                    case event if self._questioner.is_open:
                        deferred.append(event)
                        if self._questioner.settles(event):
                            await self._questioner.withdraw()
                            self._view.note("that was answered elsewhere")
                    case event:
                        if outcome := await self._event(event):
                            return outcome
        finally:
            await self._questioner.withdraw()
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
                    self._inbox.put_nowait(event)
        except Exception as exc:  # noqa: BLE001  raised again by until_idle
            self._inbox.put_nowait(exc)
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
            return None  # the end of the turn before our message
        late = "it had ended before the interrupt arrived" if self._interrupting else ""
        if stop in FAILED_STOP_REASONS or self._failed:
            explained = getattr(getattr(event, "stop_details", None), "explanation", None)
            return Outcome("failed", explained or FAILED_STOP_REASONS.get(stop, "failed"), stop)
        return Outcome("done", late, stop)

    def _ask(self, calls: Sequence[Any]) -> None:
        self._calls.update({call.id: call for call in calls})
        self._questioner.ask(calls)

    async def _send_answers(self, answers: list[dict[str, Any]]) -> None:
        try:
            await self.send(answers)
        except anthropic.BadRequestError:
            self._view.note("the answer came too late: the question was answered elsewhere")

    def _waits(self) -> Outcome:
        return Outcome("waits", stop_reason="requires_action", questions=self._questioner.calls)

    # --- keys ---

    async def _pressed(self, what: str) -> Outcome | None:
        is_asking = self._questioner.is_open
        await self._questioner.withdraw()
        if is_asking and (what == "leave" or not self._interrupts):
            return self._waits()
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
        """What the session does now, for a person."""
        asking = self._client.with_options(max_retries=0, timeout=STATUS_TIMEOUT_S)
        try:
            status = (await asking.beta.sessions.retrieve(self._session)).status
        except anthropic.APIError:
            return "the API does not answer, so it is not known whether the agent still works"
        if status in ("running", "rescheduling"):
            return "the agent goes on working"
        return "the agent does not work any more" if status == "idle" else "the session has ended"
