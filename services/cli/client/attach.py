"""Work of `holdfast attach`: watches an existing session."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anthropic
from rich.text import Text

from holdfast.cli.client import questions
from holdfast.cli.client.outcome import Outcome
from holdfast.cli.client.run import EXIT_CODES
from holdfast.cli.client.session_ids import resolve, short
from holdfast.cli.client.session_state import SessionState, session_state
from holdfast.cli.client.session_watch import SessionWatch
from holdfast.cli.client.target import Target
from holdfast.cli.client.terminal.console import make_console
from holdfast.cli.client.terminal.summary import closing_lines
from holdfast.cli.client.terminal.terminal_view import TerminalView
from holdfast.cli.models import price_of, prices_of


async def attach(target: Target, text: str, data: Path | None) -> int:
    """Print the last answer of the session, then watch it until it is idle; returns the exit code.

    Raises UnknownSession and the errors of the SDK.
    """
    own: set[str] = set()
    console = make_console()
    view = TerminalView(console, own)
    began = time.monotonic()
    prices = prices_of(target)
    async with target.client() as client:
        session = await resolve(client, text)
        model = (await client.beta.sessions.retrieve(session)).agent.model.id
        now = await session_state(client, session)
        console.print(Text.assemble("session ", (short(session), "bold"), f" · {model}", style="dim"), soft_wrap=True)
        watch = SessionWatch(client, session, view, own, interrupts=False, asks=True)
        with watch.keys():
            try:
                outcome = await _attached(view, watch, now)
            except (anthropic.APIConnectionError, anthropic.InternalServerError):
                outcome = Outcome("gone", f"no answer from {target.base_url}")
        view.lines(
            closing_lines(
                outcome,
                session=session,
                seconds=time.monotonic() - began,
                usage=view.activity.usage,
                price=price_of(model, prices),
                files=(),
                data=questions.data_option(data),
            )
        )
    return 0 if outcome.end == "left" else EXIT_CODES[outcome.end]


async def _attached(view: TerminalView, watch: SessionWatch, now: SessionState) -> Outcome:
    view.before(now.turn)
    if now.ended:
        return Outcome("done", "the session has ended")
    answers: Sequence[Any] | None = ()
    if now.questions:
        answers = await watch.ask(now.questions)
        if answers is None:
            return Outcome("waits", questions=now.questions)
    elif not now.running:
        return Outcome("done", "the session is idle")
    if not now.questions:
        view.note("the agent is at work; Ctrl-C leaves it working")
    view.start()
    try:
        return await watch.until_idle(now.after, answers)
    finally:
        view.stop()
