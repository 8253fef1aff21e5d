"""One task in one session, shown live."""

import asyncio
import signal
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from anthropic import AsyncAnthropic
from rich.console import Console
from rich.text import Text

from holdfast.cli.client import definitions, files
from holdfast.cli.client.files import FileOptions
from holdfast.cli.client.follow import BEGINNING, follow, last_event
from holdfast.cli.client.prompt import NobodyThere, ask
from holdfast.cli.client.session_ids import resolve
from holdfast.cli.client.target import FAILED, Target
from holdfast.cli.client.transcript import Transcript, call_of

WAITS: Final = 3
INTERRUPTED: Final = 130
FAILURES: Final = ("retries_exhausted", "refusal", "budget_reached")


class Task:
    """`work` is called once."""

    def __init__(self, target: Target) -> None:
        console = self._console = Console(highlight=False)
        self._target = target
        self._show = Transcript(console)
        self._calls: dict[str, Any] = {}
        """Tool calls that may come to wait for us, by id."""
        self._failed = False
        self._interrupted = False
        self._leave = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def work(
        self, task: str, agent: Path | None, model: str | None, wishes: FileOptions, session: str | None
    ) -> int:
        """Do the task and return the exit code.

        Raises BadAgentFile, CannotCopy, UnknownSession, and the errors of the SDK.
        """
        async with self._target.client() as client:
            session = await resolve(client, session) if session else None
            brought = await files.prepare(self._target, wishes, session, self._show.note)
            if session:
                after = await last_event(client, session)
            else:
                params = definitions.read_agent(agent, model) if agent else definitions.default_agent(model)
                session = await self._new_session(client, params, task)
                after = BEGINNING
            brought.begin(session)
            place = brought.workspace
            self._console.print(f"[dim]session {session}[/]")
            if place:
                self._console.print(Text(f"files   {place}", "dim"), soft_wrap=True)
            self._on_ctrl_c(client, session)
            message: Any = {"type": "user.message", "content": [{"type": "text", "text": task}]}
            await client.beta.sessions.events.send(session, events=[message])
            code = await self._watch(client, session, after)
            await self._summary(client, session)
            finished = brought.finish(session, well=code == 0)
            for line in finished.lines:
                self._console.print(Text(line), soft_wrap=True)
            return code if finished.ok else code or FAILED

    async def _new_session(self, client: AsyncAnthropic, params: dict[str, Any], task: str) -> str:
        local = self._target.local
        remembered = Path(local.data) / "cli" / "agents.json" if local else None
        agent_id = await definitions.agent(client, params, remembered)
        environment_id = await definitions.environment(client)
        title = " ".join(task.split())[:80]
        return (await client.beta.sessions.create(agent=agent_id, environment_id=environment_id, title=title)).id

    def _on_ctrl_c(self, client: AsyncAnthropic, session: str) -> None:
        loop = asyncio.get_running_loop()

        async def interrupt() -> None:
            await client.beta.sessions.events.send(session, events=[{"type": "user.interrupt"}])

        def pressed() -> None:
            if self._interrupted:
                self._leave.set()
                return
            self._interrupted = True
            self._show.note("interrupting; Ctrl-C again leaves the session running")
            task = loop.create_task(interrupt())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        loop.add_signal_handler(signal.SIGINT, pressed)

    async def _watch(self, client: AsyncAnthropic, session: str, after: str) -> int:
        """Show events until the session rests, and return the exit code."""
        leaving = asyncio.create_task(self._leave.wait())
        watching = asyncio.create_task(self._until_rest(client, session, after))
        await asyncio.wait({leaving, watching}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not watching.done():
            watching.cancel()
            self._show.note(f"left running; holdfast tail {session}")
            return INTERRUPTED
        return watching.result()

    async def _until_rest(self, client: AsyncAnthropic, session: str, after: str) -> int:
        async with aclosing(follow(client, session, after, deltas=True, note=self._show.note)) as events:
            async for event in events:
                self._show.event(event)
                match event.type:
                    case "agent.tool_use" | "agent.custom_tool_use":
                        self._calls[event.id] = event
                    case "session.error":
                        self._failed = event.error.retry_status.type in ("exhausted", "terminal")
                    case "session.status_terminated" | "session.deleted":
                        return FAILED
                    case "session.status_idle":
                        stop = event.stop_reason
                        if stop.type == "requires_action" and not self._interrupted:
                            try:
                                answers = [await self._answer(id_) for id_ in stop.event_ids]
                            except NobodyThere:
                                self._show.note("the session waits for an answer, and there is nobody to give it")
                                return WAITS
                            await client.beta.sessions.events.send(session, events=answers)
                        elif self._interrupted:
                            return INTERRUPTED
                        else:
                            return FAILED if self._failed or stop.type in FAILURES else 0
                    case _:
                        pass
        return FAILED

    async def _answer(self, event_id: str) -> Any:
        call = self._calls[event_id]
        if call.type == "agent.custom_tool_use":
            text = await ask(f"result of {call_of(call)}: ")
            content = [{"type": "text", "text": text or "(empty)"}]
            return {"type": "user.custom_tool_result", "custom_tool_use_id": event_id, "content": content}
        answer = await ask(f"allow {call_of(call)}? [y, n, or why not] ")
        if answer.lower() in ("y", "yes"):
            return {"type": "user.tool_confirmation", "tool_use_id": event_id, "result": "allow"}
        reason = "" if answer.lower() in ("", "n", "no") else answer
        refusal: dict[str, Any] = {"type": "user.tool_confirmation", "tool_use_id": event_id, "result": "deny"}
        return {**refusal, "deny_message": reason} if reason else refusal

    async def _summary(self, client: AsyncAnthropic, session: str) -> None:
        usage = (await client.beta.sessions.retrieve(session)).usage
        cached = usage.cache_read_input_tokens or 0
        self._console.print(
            f"[dim]tokens: {usage.input_tokens or 0} in, {usage.output_tokens or 0} out, {cached} from the cache[/]"
        )
