"""The current activity of a session, since when, and the tokens so far, all derived from its events. Pure."""

import re
from typing import Any, Final

from holdfast.cli.client.terminal.figures import Usage, duration, short_count
from holdfast.cli.client.terminal.tool_calls import title
from holdfast.cli.sanitize import clean

MAX_OUTPUT_CHARS: Final = 4000
"""Characters of the output of a running tool that are kept. The last lines of it are shown."""

_WAIT: Final = re.compile(r"next in (?=\d)(?:(\d+) h ?)?(?:(\d+) min ?)?(?:(\d+(?:\.\d+)?) s)?")
"""The wait in the message of a failed model request, such as `(attempt 3, next in 1 min 30 s)`."""

_ATTEMPT: Final = re.compile(r" \(attempt [^)]*\)$")

WAITING_FOR_MODEL: Final = "waiting for the model"


class Activity:
    """Takes every event in order. Times are seconds of one monotonic clock."""

    def __init__(self, now: float) -> None:
        self.usage = Usage()
        self.errors = 0
        """Model requests that failed in a row."""
        self._what = "starting"
        self._since = now
        self._calls: dict[str, str] = {}
        """Titles of the calls that run or wait, by id."""
        self._output: dict[str, str] = {}
        """Output so far of running calls."""
        self._retry = ""
        self._retry_at = 0.0

    def say(self, what: str, now: float) -> None:
        """Set an activity that does not come from an event, such as a lost connection."""
        if what != self._what:
            self._what, self._since = what, now

    def event(self, event: Any, now: float) -> None:  # noqa: C901, PLR0912  one case an event type
        match event.type:
            case "session.status_running":
                self.say("asking the model again" if self.errors else "starting", now)
            case "span.model_request_start":
                self.say("asking the model again" if self.errors else "thinking", now)
            case "event_start" if getattr(event.event, "type", "") == "agent.message":
                self.say("writing", now)
            case "event_delta" if event.event_id in self._calls:
                text = getattr(event.delta.content, "text", "")
                self._output[event.event_id] = (self._output.get(event.event_id, "") + text)[-MAX_OUTPUT_CHARS:]
            case "event_delta":
                self.say("writing", now)
            case "span.model_request_end":
                self._asked(event, now)
            case "agent.tool_use" | "agent.custom_tool_use":
                self._calls[event.id] = title(event.name, event.input or {}).plain
                self._tools(now)
            case "agent.tool_result":
                self._close(event.tool_use_id, now)
            case "user.custom_tool_result":
                self._close(event.custom_tool_use_id, now)
            case "session.error":
                self._retry = clean(event.error.message).strip()
                wait = _WAIT.search(self._retry)
                self._retry_at = now + _seconds_of(wait) if wait else 0.0
            case "session.status_rescheduled":
                self.say(WAITING_FOR_MODEL, now)
            case "session.status_idle":
                self._calls.clear()
                self._output.clear()
            case _:
                pass

    def _asked(self, event: Any, now: float) -> None:
        """A model request has ended. In a long outage not every failure has a `session.error` of its own."""
        self.usage.add(event.model_usage)
        if event.is_error:
            self.errors += 1
            self._retry, self._retry_at = _ATTEMPT.sub("", self._retry), 0.0
            self.say(WAITING_FOR_MODEL if self._retry else "working", now)
            return
        self.errors, self._retry = 0, ""
        self.say("working", now)
        self._tools(now)

    def _close(self, call: str, now: float) -> None:
        self._calls.pop(call, None)
        self._output.pop(call, None)
        self.say("working", now)
        self._tools(now)

    def _tools(self, now: float) -> None:
        match list(self._calls.values()):
            case []:
                pass
            case [one]:
                self.say(f"running {one}", now)
            case many:
                self.say(f"running {len(many)} tools: {', '.join(name.partition('(')[0] for name in many)}", now)

    def line(self, now: float, width: int) -> str:
        """Such as `running Bash(pytest -q) · 12 s · 1.2k tokens`, or the error while a retry is due.

        The activity is shortened so that the line has at most `width` characters; an error is not.
        """
        if self._retry and self._what == WAITING_FOR_MODEL:
            if self._retry_at:
                return _WAIT.sub(f"next in {_seconds(max(self._retry_at - now, 0))}", self._retry)
            return f"{self._retry} · attempt {self.errors} failed · {_seconds(now - self._since)}"
        figures = f" · {_seconds(now - self._since)}"
        if self.usage.total:
            figures += f" · {short_count(self.usage.total)} tokens"
        room = max(width - len(figures), 12)
        what = self._what if len(self._what) <= room else self._what[: room - 1] + "…"
        return what + figures

    def output(self, lines: int) -> list[str]:
        """The last lines that the running tools have written."""
        text = "\n".join(clean(text).rstrip("\n") for text in self._output.values())
        return [line.expandtabs(4) for line in text.split("\n")[-lines:]] if text else []


def _seconds_of(wait: re.Match[str]) -> float:
    return float(wait[1] or 0) * 3600 + float(wait[2] or 0) * 60 + float(wait[3] or 0)


def _seconds(passed: float) -> str:
    return duration(float(int(passed))).replace(".0 s", " s")
