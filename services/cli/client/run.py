"""Work of `holdfast run`: sends one task to a session and shows the turn as it happens."""

import asyncio
import contextlib
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import anthropic
import msgspec
from anthropic import AsyncAnthropic
from rich.text import Text

from holdfast.cli.client import definitions, questions
from holdfast.cli.client.event_stream import BEGINNING
from holdfast.cli.client.files import run_files
from holdfast.cli.client.files.run_files import FileOptions, Finished, RunFiles
from holdfast.cli.client.outcome import Outcome
from holdfast.cli.client.session_ids import resolve, short
from holdfast.cli.client.session_state import session_state
from holdfast.cli.client.session_watch import SessionWatch
from holdfast.cli.client.target import NoStack, Target
from holdfast.cli.client.terminal.console import make_console, write_json
from holdfast.cli.client.terminal.json_view import JsonView
from holdfast.cli.client.terminal.summary import closing_lines
from holdfast.cli.client.terminal.terminal_view import TerminalView
from holdfast.cli.embedded.model_endpoint import VENDOR
from holdfast.cli.exit_codes import FAILED, INTERRUPTED, WAITS
from holdfast.cli.models import price_of, prices_of
from holdfast.cli.sanitize import clean_line
from holdfast.process.model_facts import ModelCatalogue

EXIT_CODES: Final = {"done": 0, "failed": FAILED, "gone": FAILED, "waits": WAITS, "interrupted": INTERRUPTED}
"""Exit code for each end of a watch. `left` is missing: it is INTERRUPTED for `run` and 0 for `attach`."""


class NoModelKey(NoStack):
    """The stack has no key for its model."""


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `holdfast run`."""

    task: str
    agent: Path | None = None
    model: str | None = None
    files: FileOptions = FileOptions()
    session: str | None = None
    detach: bool = False
    json: bool = False
    data: Path | None = None
    """The folder of the stack if the user named one; then the printed commands name it too."""


class TaskRun:
    """One run of the command; `work` is called once."""

    def __init__(self, target: Target, options: RunOptions) -> None:
        self._target = target
        self._options = options
        self._data = questions.data_option(options.data)
        self._console = make_console()
        self._own: set[str] = set()
        self._view = JsonView() if options.json else TerminalView(self._console, self._own)
        self._began = time.monotonic()
        self._model = ""
        self._prices: ModelCatalogue
        self._files: RunFiles | None = None

    async def work(self) -> int:
        """Do the task and return the exit code.

        Raises NoModelKey, BadSettings, BadAgentFile, CannotCopy, UnknownSession, and the errors of the SDK while there
        is no session yet.
        """
        check_model_key(self._target)
        self._prices = prices_of(self._target)
        async with self._target.client() as client:
            session = ""
            if self._options.session:
                with self._showing():
                    session = await resolve(client, self._options.session)
                    self._model = (await client.beta.sessions.retrieve(session)).agent.model.id
            self._files = await run_files.prepare(self._target, self._options.files, session or None, self._view.note)
            with self._showing():
                session = await self._begin(client, session, self._files)
            watch = SessionWatch(client, session, self._view, self._own, interrupts=True, asks=not self._options.json)
            try:
                with watch.keys():
                    return await self._watched(client, session, watch)
            except (anthropic.APIConnectionError, anthropic.InternalServerError) as exc:
                why = f"no answer from {self._target.base_url}"
                if isinstance(exc, anthropic.InternalServerError):
                    why = f"{self._target.base_url} answers {exc.status_code}"
                return await self._end(session, Outcome("gone", why))

    async def _watched(self, client: AsyncAnthropic, session: str, watch: SessionWatch) -> int:
        options = self._options
        after, answers = BEGINNING, list[dict[str, Any]]()
        if options.session:
            now = await session_state(client, session)
            if now.ended:
                return await self._end(session, Outcome("failed", "the session has ended and takes no more tasks"))
            after = now.after
            if now.questions:
                given = None
                if not options.detach:
                    self._header(session)
                    self._view.note("the session waits for an answer; your task is sent after it")
                    given = await watch.ask(now.questions)
                if given is None:
                    return await self._end(session, Outcome("waits", questions=now.questions))
                answers = given
            elif now.running and not options.detach:
                self._view.note("the agent is at work; it takes your task in when it can")
        if not answers and not options.detach:
            self._header(session)
        message = {"type": "user.message", "content": [{"type": "text", "text": options.task}]}
        if options.detach:
            await watch.send([message])
            return self._detached(session)
        with self._showing():
            outcome = await watch.until_idle(after, [*answers, message])
        return await self._end(session, outcome)

    @contextlib.contextmanager
    def _showing(self) -> Generator[None]:
        """The live area is shown within the block."""
        self._view.start()
        try:
            yield
        finally:
            self._view.stop()

    # --- the session ---

    async def _new_session(self, client: AsyncAnthropic) -> str:
        options = self._options
        params = (
            definitions.read_agent(options.agent, options.model)
            if options.agent
            else definitions.default_agent(options.model)
        )
        local = self._target.local
        remembered = Path(local.data) / "cli" / "agents.json" if local else None
        agent_id = await definitions.agent(client, params, remembered)
        environment_id = await definitions.environment(client)
        title = " ".join(options.task.split())[:80]
        made = await client.beta.sessions.create(agent=agent_id, environment_id=environment_id, title=title)
        self._model = made.agent.model.id
        return made.id

    async def _begin(self, client: AsyncAnthropic, session: str, brought: RunFiles) -> str:
        """The id of the session, with the files copied in. Makes a session if the id is empty.

        Raises CannotCopy; then a session that was made is deleted.
        """
        found = session or await self._new_session(client)
        try:
            await asyncio.to_thread(brought.begin, found)
        except Exception:
            if not session:
                with contextlib.suppress(anthropic.APIError):
                    await client.beta.sessions.delete(found)
            raise
        return found

    # --- messages ---

    def _header(self, session: str) -> None:
        if self._options.json:
            return
        shown = short(session) if self._console.is_terminal else session
        line = Text.assemble("session ", (shown, "bold"), f" · {clean_line(self._model)}", style="dim")
        if self._console.is_terminal:
            line.truncate(self._console.width, overflow="ellipsis")
        self._console.print(line, soft_wrap=True)

    def _detached(self, session: str) -> int:
        """Print the id on standard output, for scripts, and the next commands on standard error."""
        print(session, flush=True)
        errors = make_console(stderr=True)
        for command in ("attach", "tail"):
            errors.print(Text(f"  holdfast {command} {short(session)}{self._data}", "dim"), soft_wrap=True)
        return 0

    async def _end(self, session: str, outcome: Outcome) -> int:
        code = EXIT_CODES.get(outcome.end, INTERRUPTED)
        seconds = time.monotonic() - self._began
        usage = self._view.activity.usage
        finished = Finished([], ok=True)
        if self._files and outcome.end not in ("gone", "left"):
            finished = await asyncio.to_thread(self._files.finish, session, well=outcome.end == "done")
            code = code if finished.ok else code or FAILED
        if self._options.json:
            write_json(
                {
                    "type": "result",
                    "session": session,
                    "exit": code,
                    "end": outcome.end,
                    "stop_reason": outcome.stop_reason,
                    "usage": usage.wire(),
                    "seconds": round(seconds, 3),
                }
            )
        self._view.lines(
            closing_lines(
                outcome,
                session=session,
                seconds=seconds,
                usage=usage,
                price=price_of(self._model, self._prices),
                files=finished.lines,
                data=self._data,
            )
        )
        return code


def check_model_key(target: Target) -> None:
    """Raises NoModelKey if the stack calls the vendor's model without a key. Models of others may need none."""
    stack = target.local
    if stack is None or stack.has_model_key:
        return
    if target.is_vendors_model:
        raise NoModelKey(
            f"the stack in {stack.data} has no key for the model at {stack.model_base_url or VENDOR}.\n"
            "Stop it and start it with one:  HOLDFAST_MODEL_API_KEY=sk-ant-... holdfast up\n"
            "Or with a model that needs none: holdfast up --scripted"
        )
