"""Shows a watched session live on a terminal, or as plain text in a pipe."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from holdfast.cli.client.terminal.activity import Activity
from holdfast.cli.client.terminal.draft import Draft
from holdfast.cli.client.terminal.figures import Usage
from holdfast.cli.client.terminal.live_area import LiveArea
from holdfast.cli.client.terminal.tool_calls import TOOLS_WITHOUT_RESULT, detail, result, title
from holdfast.cli.sanitize import clean, clean_line

DRAFT_LINES: Final = 8
"""Lines of the unfinished part of an answer that are shown while it is written."""

OUTPUT_LINES: Final = 5
"""Lines of the output of a running tool that are shown."""


def text_of(event: Any) -> str:
    """All text of an event's content, other blocks by their type."""
    blocks: list[Any] = list(getattr(event, "content", None) or ())
    return "".join(b.text if b.type == "text" else f"[{b.type}]" for b in blocks)


class TerminalView:
    """Prints the steps of a turn with a blank line between them. `own` are the ids of events that this program sent."""

    def __init__(self, console: Console, own: set[str]) -> None:
        self._console = console
        self._own = own
        self.activity = Activity(time.monotonic())
        self._area = LiveArea(console, self._lines)
        self._rich = self._area.possible
        self._draft = Draft(console, rich=self._rich)
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
        draft = clean(self._draft.unprinted).strip("\n")
        lines = list(Text(draft).wrap(self._console, width))[-DRAFT_LINES:] if draft else []
        for output in self.activity.output(OUTPUT_LINES):
            line = Text("    " + output, "dim")
            line.truncate(width, overflow="ellipsis")
            lines.append(line)
        return [*lines, Text(self.activity.line(time.monotonic(), width - 3), "dim")]

    # --- what is printed ---

    def event(self, event: Any) -> None:  # noqa: C901, PLR0912  one case an event type
        self.activity.event(event, time.monotonic())
        match event.type:
            case "event_delta":
                if event.event_id not in self._calls:
                    self._draft_printed(self._draft.add(event.event_id, getattr(event.delta.content, "text", "")))
            case "span.model_request_start" | "session.status_idle":
                self._draft_printed(self._draft.drop())
            case "agent.message":
                self._draft_printed(self._draft.finish(event.id, text_of(event)))
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
        """Print a remark in parentheses."""
        call = self._last_call
        self._print(Text(f"({clean(text)})", "dim"))
        self._last_call = call

    def connection(self, text: str) -> None:
        """Show that the connection was lost or restored."""
        self.activity.say(text, time.monotonic())
        if not self._rich:
            self.note(text)

    def lines(self, lines: Sequence[Text]) -> None:
        for line in lines:
            self._console.print(line, soft_wrap=True)  # whole lines, so that a command can be copied

    def ask_about(self, call: Any) -> None:
        """Print the call that a question is about, unless it was printed last."""
        self._calls[call.id] = call
        if self._last_call != call.id:
            self._call(call)

    def before(self, turn: Sequence[Any]) -> None:
        """Process the events of a turn that began before the watch, and print only its last answer."""
        for event in turn:
            self.activity.event(event, time.monotonic())
            if event.type in ("agent.tool_use", "agent.custom_tool_use"):
                self._calls[event.id] = event
        self.activity.usage = Usage()
        said = [event for event in turn if event.type == "agent.message"]
        if said:
            self._draft_printed(self._draft.finish(said[-1].id, text_of(said[-1])))

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
        if call is not None and call.name in TOOLS_WITHOUT_RESULT and not is_error:
            return
        self._below(result(text) if text.strip() else ["(no output)"], is_error=is_error)

    def _below(self, lines: Sequence[str], *, is_error: bool = False) -> None:
        """Print indented lines that belong to the step above."""
        style = "red" if is_error else "dim"
        for number, line in enumerate(lines):
            sign = ("✗ " if is_error else "⎿ ") if not number else "  "
            self._indented(Text(clean_line(line), style), "    ", Text("  " + sign, style))
        self._last_call = ""

    def _draft_printed(self, anything: bool) -> None:
        """Call it after the draft may have printed something."""
        if anything:
            self._last_call = ""

    def _error(self, error: Any) -> None:
        if error.retry_status.type != "retrying":
            self._print(Text(f"✗ {clean(error.message)}", "bold red"))
        elif not self._rich:
            told = "attempt" in error.message  # newer harnesses name the attempt themselves
            more = "" if told else f" (attempt {self.activity.errors} failed, trying again)"
            self.note(f"{error.message}{more}")

    def _step(self, line: Text) -> None:
        self._console.print()
        self._print(line)

    def _indented(self, line: Text, indent: str, first: Text | None = None) -> None:
        """Print the line, wrapped, with `indent` before each part, or `first` before the first part."""
        parts = line.wrap(self._console, max(self._console.width - len(indent), 10)) if self._rich else [line]
        for number, part in enumerate(parts):
            self._print((first if first and not number else Text(indent)) + part)

    def _print(self, line: Text) -> None:
        self._last_call = ""
        self._console.print(line, soft_wrap=not self._rich)
