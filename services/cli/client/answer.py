"""Work of `holdfast answer`: answers an open call of a session without watching it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from holdfast.cli.client import questions
from holdfast.cli.client.errors import CannotDo
from holdfast.cli.client.session_ids import resolve, short
from holdfast.cli.client.session_state import session_state
from holdfast.cli.client.target import Target
from holdfast.cli.client.terminal.console import make_console
from holdfast.cli.client.terminal.tool_calls import title
from holdfast.cli.exit_codes import FAILED

Verdict = Literal["allow", "deny"]


class CannotAnswer(CannotDo):
    """The answer does not fit what the session waits for; the text says why and what to do."""


async def answer(
    target: Target,
    text: str,
    verdict: Verdict | None,
    *,
    message: str,
    result: str | None,
    call: str,
    data: Path | None,
) -> int:
    """Send one answer, or print the open calls if none is given; returns the exit code.

    Raises CannotAnswer, UnknownSession and the errors of the SDK.
    """
    console = make_console()
    option = questions.data_option(data)
    async with target.client() as client:
        session = await resolve(client, text)
        waiting = (await session_state(client, session)).questions
        if not waiting:
            console.print(f"Session {short(session)} waits for nothing.", soft_wrap=True)
            return 0 if verdict is None and result is None else FAILED
        if verdict is None and result is None:
            _list(console, session, waiting, option)
            return 0
        chosen = _chosen(session, waiting, call, option)
        event = _event(chosen, verdict, message, result)
        await client.beta.sessions.events.send(session, events=[event])
    given = {"allow": "Allowed", "deny": "Denied"}.get(verdict or "", "Result sent for")
    console.print(Text.assemble(f"{given}: ", title(chosen.name, chosen.input or {})), soft_wrap=True)
    rest = [one for one in waiting if one.id != chosen.id]
    if rest:
        console.print("The session still:")
        _list(console, session, rest, option)
    else:
        console.print(Text(f"The agent goes on. Watch it: holdfast attach {short(session)}{option}"), soft_wrap=True)
    return 0


def _list(console: Console, session: str, waiting: Sequence[Any], option: str) -> None:
    for line in questions.open_questions(session, waiting, option):
        console.print(line, soft_wrap=True)


def _chosen(session: str, waiting: Sequence[Any], call: str, option: str) -> Any:
    found = questions.find_call(waiting, call)
    if len(found) == 1:
        return found[0]
    what = f"no open call ends in {call!r}" if not found else "several calls are open: name one with --call"
    lines = "\n".join(line.plain for line in questions.open_questions(session, waiting, option))
    raise CannotAnswer(f"{what}. The session\n{lines}")


def _event(call: Any, verdict: Verdict | None, message: str, result: str | None) -> Any:
    if questions.wants_result(call):
        if result is None:
            raise CannotAnswer(f"{call.name} is a tool of yours: give its result with --result TEXT, not {verdict}.")
        return questions.result(call, result)
    if verdict is None:
        raise CannotAnswer(f"{call.name} waits for your permission: say allow or deny, not --result.")
    return questions.allow(call) if verdict == "allow" else questions.deny(call, message)
