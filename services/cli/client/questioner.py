"""Asks the person at the terminal about the calls that a session waits for, while the watch goes on."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from holdfast.cli.client import questions
from holdfast.cli.client.terminal.prompt import NobodyToAsk, ask
from holdfast.cli.client.terminal.view import View


class Answered(msgspec.Struct, frozen=True):
    """The answers of the person to all questions, as events to send; None if there is nobody to ask."""

    answers: list[dict[str, Any]] | None


class Questioner:
    """Asks about one group of calls at a time and puts an Answered into `inbox`.

    Without `asks` it asks no question, and each Answered says that there is nobody to ask.
    """

    def __init__(self, view: View, inbox: asyncio.Queue[Any], *, asks: bool) -> None:
        self._view = view
        self._inbox = inbox
        self._asks = asks
        self._task: asyncio.Task[None] | None = None
        self._always_allowed: set[str] = set()
        """Tools that the person allowed for the rest of this command."""
        self.calls: Sequence[Any] = ()
        """The calls that were asked about last."""

    @property
    def is_open(self) -> bool:
        """Whether a question is on the screen, or its Answered is still in the inbox."""
        return self._task is not None

    def ask(self, calls: Sequence[Any]) -> None:
        """Begin to ask; returns at once. The answers are put into the inbox."""
        self.calls = calls
        self._task = asyncio.create_task(self._ask_all(calls))

    def close(self) -> None:
        """Call it when the Answered has been taken from the inbox."""
        self._task = None

    async def withdraw(self) -> None:
        """Take the open question off the screen."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def settles(self, event: Any) -> bool:
        """Whether this event answers the open question or makes it obsolete."""
        ids = {call.id for call in self.calls}
        match event.type:
            case "user.tool_confirmation" | "agent.tool_result":
                return event.tool_use_id in ids
            case "user.custom_tool_result":
                return event.custom_tool_use_id in ids
            case "session.status_terminated" | "session.deleted" | "session.status_running":
                return True
            case _:
                return False

    async def _ask_all(self, calls: Sequence[Any]) -> None:
        try:
            answers = [await self._answer(call) for call in calls]
        except NobodyToAsk:
            self._inbox.put_nowait(Answered(None))
        else:
            self._inbox.put_nowait(Answered(answers))

    async def _answer(self, call: Any) -> dict[str, Any]:
        """The event that answers one call. Raises NobodyToAsk."""
        if call.name in self._always_allowed and not questions.wants_result(call):
            return questions.allow(call)
        if not self._asks:
            raise NobodyToAsk
        with self._view.hidden():
            self._view.ask_about(call)
            given = questions.reply(call, await ask(questions.question(call)))
        if given.always:
            self._always_allowed.add(call.name)
            self._view.note(f"{call.name} is allowed without a question until this command ends")
        return given.event
