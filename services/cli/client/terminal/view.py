"""A turn on the terminal as it happens, or as plain text in a pipe. Or as JSON, one event a line."""

import contextlib
import sys
import time
from collections.abc import Generator, Sequence
from typing import Any, Final, Protocol

import msgspec
from rich.console import Console
from rich.text import Text
from rich.theme import Theme

from holdfast.cli.client.terminal.activity import Activity
from holdfast.cli.client.terminal.figures import Usage
from holdfast.cli.client.terminal.live_area import LiveArea
from holdfast.cli.client.terminal.tool_calls import QUIET, detail, result, title
from holdfast.cli.sanitize import clean, clean_line

DRAFT_LINES: Final = 8
"""Lines of the unfinished part of an answer that are shown while it is written."""

OUTPUT_LINES: Final = 5
"""Lines of the output of a running tool that are shown."""

THEME: Final = Theme({"markdown.code": "cyan", "markdown.h1": "bold", "markdown.h2": "bold", "markdown.h3": "bold"})


class View(Protocol):
    """What a watched session is shown on."""

    activity: Activity

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def event(self, event: Any) -> None: ...
    def note(self, text: str) -> None: ...
    def connection(self, text: str) -> None: ...
    def ask_about(self, call: Any) -> None: ...
    def lines(self, lines: Sequence[Text]) -> None: ...
    def hidden(self) -> contextlib.AbstractContextManager[None]: ...


def make_console(*, stderr: bool = False) -> Console:
    """A console on standard output, or on standard error; writing to a closed pipe raises BrokenPipeError."""
    return _Console(highlight=False, theme=THEME, stderr=stderr)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich would end the program here and now; the caller cleans up first


def text_of(event: Any) -> str:
    """All text of an event's content, other blocks by their type."""
    blocks: list[Any] = list(getattr(event, "content", None) or ())
    return "".join(b.text if b.type == "text" else f"[{b.type}]" for b in blocks)


class TerminalView:
    """Steps of a turn with a blank line between them. `own` holds the ids of events that were sent from here."""

    def __init__(self, console: Console, own: set[str]) -> None:
        self._console = console
        self._own = own
        self.activity = Activity(time.monotonic())
        self._area = LiveArea(console, self._lines)
        self._rich = self._area.possible
        self._draft_id: str = ""
        """The message that is being written."""
        self._draft = ""
        self._printed = ""
        """The beginning of the draft that has been printed."""
        self._calls: dict[str, Any] = {}
        self._shown: set[str] = set()
        """Calls that have been printed."""
        self._last_call = ""
        """The call that was printed last, when nothing was printed after it."""

    # --- the area that changes ---

    def start(self) -> None:
        self._area.show()

    def stop(self) -> None:
        self._area.hide()

    def hidden(self) -> contextlib.AbstractContextManager[None]:
        return self._area.hidden()

    def _lines(self) -> list[Text]:
        width = self._console.width
        draft = clean(self._draft[len(self._printed) :]).strip("\n")
        lines = list(Text(draft).wrap(self._console, width))[-DRAFT_LINES:] if draft else []
        for output in self.activity.output(OUTPUT_LINES):
            line = Text("    " + output, "dim")
            line.truncate(width, overflow="ellipsis")
            lines.append(line)
        return [*lines, Text(self.activity.line(time.monotonic(), width - 3), "dim")]

    # --- what is printed ---

    def event(self, event: Any) -> None:  # noqa: C901, PLR0912  one case an event, on purpose
        self.activity.event(event, time.monotonic())
        match event.type:
            case "event_delta":
                if event.event_id not in self._calls:
                    self._write(event.event_id, getattr(event.delta.content, "text", ""))
            case "span.model_request_start" | "session.status_idle":
                self._cut_off()
            case "agent.message":
                self._message(event)
            case "agent.tool_use" | "agent.custom_tool_use":
                self._calls[event.id] = event
                if event.type == "agent.tool_use" and event.evaluated_permission != "ask":
                    self._call(event)
            case "agent.tool_result":
                self._result(event.tool_use_id, text_of(event), is_error=bool(event.is_error))
            case "user.custom_tool_result" if event.id not in self._own:
                self._result(event.custom_tool_use_id, text_of(event), is_error=bool(event.is_error))
            case "user.tool_confirmation" if event.id not in self._own or not self._rich:
                why = f": {event.deny_message}" if event.deny_message else ""
                self._below([f"{'allowed' if event.result == 'allow' else 'denied'}{why}"])
            case "user.message" if event.id not in self._own:
                self._step(Text(f"> {clean(text_of(event))}", "bold"))
            case "user.interrupt":
                self.note("the agent was interrupted")
            case "agent.thread_context_compacted":
                self.note("the conversation was summarised to fit the model's context")
            case "session.error":
                self._error(event.error)
            case "session.status_terminated":
                self.note("the session has ended")
            case "session.deleted":
                self.note("the session was deleted")
            case _:
                pass

    def note(self, text: str) -> None:
        """Something that is no step of the agent."""
        call = self._last_call
        self._print(Text(f"({clean(text)})", "dim"))
        self._last_call = call

    def connection(self, text: str) -> None:
        """The connection was lost, or is there again."""
        self.activity.say(text, time.monotonic())
        if not self._rich:
            self.note(text)

    def lines(self, lines: Sequence[Text]) -> None:
        for line in lines:
            self._console.print(line, soft_wrap=True)  # whole lines, so that a command can be copied

    def ask_about(self, call: Any) -> None:
        """Print the call that a question is about, unless it stands there already."""
        self._calls[call.id] = call
        if self._last_call != call.id:
            self._call(call)

    def before(self, turn: Sequence[Any]) -> None:
        """Print the last answer of a turn that is known already, and what it does now."""
        for event in turn:
            self.activity.event(event, time.monotonic())
            if event.type in ("agent.tool_use", "agent.custom_tool_use"):
                self._calls[event.id] = event
        self.activity.usage = Usage()
        said = [event for event in turn if event.type == "agent.message"]
        if said:
            self._message(said[-1])

    def _write(self, event_id: str, text: str) -> None:
        if event_id != self._draft_id:
            self._cut_off()
            self._draft_id, self._draft, self._printed = event_id, "", ""
        self._draft += text
        self._flush()

    def _flush(self) -> None:
        """Print what is complete of the draft: Markdown by blocks, plain text by lines."""
        if self._rich:
            from holdfast.cli.client.terminal.markdown import first_block  # noqa: PLC0415  slow to import, and not for a pipe

            while size := first_block(self._draft[len(self._printed) :]):
                self._part(size)
        elif size := self._draft[len(self._printed) :].rfind("\n") + 1:
            self._part(size)

    def _part(self, size: int) -> None:
        """Print the next `size` characters of the draft."""
        part = self._draft[len(self._printed) :][:size]
        if not part:
            return
        if not self._printed:
            self._console.print()
        if self._rich:
            from holdfast.cli.client.terminal.markdown import draw  # noqa: PLC0415  slow to import, and not for a pipe

            if self._printed and part.strip():
                self._console.print()
            self._console.print(draw(self._console, part), end="")
        else:
            self._console.print(Text(clean(part).removesuffix("\n")), soft_wrap=True)
        self._printed += part
        self._last_call = ""

    def _message(self, event: Any) -> None:
        text = text_of(event)
        if event.id != self._draft_id or not text.startswith(self._printed):
            self._cut_off()
            self._printed = ""
        self._draft = text
        self._flush()
        self._part(len(text) - len(self._printed))
        self._draft_id = self._draft = self._printed = ""

    def _cut_off(self) -> None:
        """The message that was being written is not coming any more."""
        draft, printed = self._draft, self._printed
        self._draft_id = self._draft = self._printed = ""
        if draft:
            rest = draft[len(printed) :].strip("\n")
            if not printed:
                self._console.print()
            self._print(Text(clean(rest) + " …" if rest else "…", "dim"))

    def _call(self, call: Any) -> None:
        self._shown.add(call.id)
        given: dict[str, Any] = call.input or {}
        self._step(Text.assemble(("● ", "green"), title(call.name, given)))
        for line in detail(call.name, given):
            self._indented(line, "    ")
        self._last_call = call.id

    def _result(self, call_id: str, text: str, *, is_error: bool) -> None:
        call = self._calls.get(call_id)
        if call is not None and call_id not in self._shown:
            self._call(call)
        elif call is not None and self._last_call != call_id:
            self._step(Text.assemble(("↳ ", "green"), title(call.name, call.input or {}), style="dim"))
        if call is not None and call.name in QUIET and not is_error:
            return
        self._below(result(text) if text.strip() else ["(no output)"], is_error=is_error)

    def _below(self, lines: Sequence[str], *, is_error: bool = False) -> None:
        """Lines that belong to the step above."""
        style = "red" if is_error else "dim"
        for number, line in enumerate(lines):
            sign = ("✗ " if is_error else "⎿ ") if not number else "  "
            self._indented(Text(clean_line(line), style), "    ", Text("  " + sign, style))
        self._last_call = ""

    def _error(self, error: Any) -> None:
        if error.retry_status.type != "retrying":
            self._print(Text(f"✗ {clean(error.message)}", "bold red"))
        elif not self._rich:
            told = "attempt" in error.message  # by a newer harness
            more = "" if told else f" (attempt {self.activity.errors} failed, trying again)"
            self.note(f"{error.message}{more}")

    def _step(self, line: Text) -> None:
        self._console.print()
        self._print(line)

    def _indented(self, line: Text, indent: str, first: Text | None = None) -> None:
        """The line with `indent` before each of the lines that it takes; `first` instead before the first one."""
        parts = line.wrap(self._console, max(self._console.width - len(indent), 10)) if self._rich else [line]
        for number, part in enumerate(parts):
            self._print((first if first and not number else Text(indent)) + part)

    def _print(self, line: Text) -> None:
        self._last_call = ""
        self._console.print(line, soft_wrap=not self._rich)


class JsonView:
    """Every event as the API has it, one JSON object a line on standard output; notes go to standard error."""

    def __init__(self) -> None:
        self.activity = Activity(time.monotonic())

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    @contextlib.contextmanager
    def hidden(self) -> Generator[None]:
        yield

    def event(self, event: Any) -> None:
        self.activity.event(event, time.monotonic())
        if event.type not in ("event_start", "event_delta"):  # previews, which are no events of the session
            write_json(event.to_dict(mode="json"))

    def note(self, text: str) -> None:
        print(f"holdfast run: {clean(text)}", file=sys.stderr)

    connection = note

    def ask_about(self, call: Any) -> None:
        pass

    def lines(self, lines: Sequence[Text]) -> None:
        for line in lines:
            print(line.plain, file=sys.stderr)


def write_json(value: Any) -> None:
    """One line of standard output, at once."""
    print(msgspec.json.encode(value).decode(), flush=True)
