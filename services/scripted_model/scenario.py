"""What a scenario holds, and which step of which scenario answers a request. Pure.

The format is described in README.md. `scenario_files` reads it from disk.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any, Final, Literal

import msgspec

Json = dict[str, Any]

MARK: Final = re.compile(r"\[play:([\w.-]+)(?:@(\d+))?\]")
"""`[play:NAME]` or `[play:NAME@STEP]` in a text of the user chooses a scenario by name."""

_SLOT: Final = re.compile(r"\{\{(result|user|step)(?::(.*?))?\}\}", re.DOTALL)
_ASKS_SUMMARY: Final = re.compile(r"summari[sz]|summary", re.IGNORECASE)

DEFAULT_SUMMARY: Final = "So far the scripted steps were followed."
NO_MATCH: Final = "Nothing in the scenario file matches this conversation."


class BadScenario(Exception):
    """A scenario file cannot be read; the text names the file and the place."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong at the next `times` attempts at the step (0: at every attempt); later attempts succeed.

    status         an error answer with `status` and `retry_after` (seconds)
    cut            the connection breaks after `after` tokens
    end            the stream ends in good order after `after` tokens, but without the rest of the message
    hang           silence after `after` tokens, until the caller gives up
    error          an error event in the stream after `after` tokens (`type`, `message`)
    cut_input      the input of the last tool call is cut off in the middle, with stop reason max_tokens
    bad_input      the input of the last tool call is no JSON
    list_input     the input of the last tool call is a list
    empty_text     an empty text block before the rest
    unknown_event  an event and a delta of unknown types in the stream
    not_json       an event whose data is no JSON
    """

    kind: Literal[
        "status", "cut", "end", "hang", "error", "cut_input", "bad_input", "list_input",
        "empty_text", "unknown_event", "not_json",
    ]  # fmt: skip
    times: int = 1
    after: int = 0
    status: int = 500
    type: str = ""
    message: str = ""
    retry_after: float | None = None


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hold at the gate `name` before token number `after`."""

    name: str
    after: int = 0


class Tool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    input: Json = {}


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One answer of the model; with `steps` a group of answers. README.md lists the fields."""

    text: str | None = None
    thinking: str | None = None
    tools: list[Tool] = []
    content: list[Json] = []
    stop: str = ""
    stop_details: Json | None = None
    usage: dict[str, int] = {}
    ttft: float = 0.0
    delay: float = 0.0
    gates: list[Gate] = []
    faults: list[Fault] = []
    repeat: int = 1
    steps: list["Step"] = []

    def __len__(self) -> int:
        return self.repeat * (sum(map(len, self.steps)) if self.steps else 1)

    def blocks(self) -> list[Json]:
        """The content blocks, templates not filled."""
        if self.content:
            return self.content
        out: list[Json] = []
        if self.thinking is not None:
            out.append({"type": "thinking", "thinking": self.thinking})
        if self.text is not None:
            out.append({"type": "text", "text": self.text})
        out.extend({"type": "tool_use", "name": t.name, "input": t.input} for t in self.tools)
        return out


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`match` counts only if the request offers every tool in `needs`. With `context_tokens` above 0, a request with
    more tokens is refused as too long."""

    steps: list[Step]
    match: str | None = None
    needs: list[str] = []
    summary: str = DEFAULT_SUMMARY
    context_tokens: int = 0


class ScenarioFile(msgspec.Struct, forbid_unknown_fields=True):
    """The whole of a scenario file."""

    scenarios: dict[str, Scenario]


class Place(msgspec.Struct, frozen=True):
    """What a conversation plays: the scenario, the number of the next step, the index of the message that began it."""

    name: str
    step: int
    began: int


def texts(message: Json) -> Iterator[str]:
    """The texts of a message, without the texts inside tool results."""
    content: Any = message.get("content")
    if isinstance(content, str):
        yield content
        return
    for block in content or ():
        if block.get("type") == "text":
            yield block["text"]


def result_texts(message: Json) -> Iterator[str]:
    """The texts inside the tool results of a message."""
    content: Any = message.get("content")
    for block in () if isinstance(content, str) else content or ():
        if block.get("type") == "tool_result":
            yield from texts(block)


def marks(messages: list[Json]) -> list[str]:
    """The names that the user's texts carry as `[play:NAME]`, each once. A test finds its own requests by them."""
    names = (m[0] for msg in messages if msg["role"] == "user" for text in texts(msg) for m in MARK.findall(text))
    return list(dict.fromkeys(names))


class Script:
    """All loaded scenarios."""

    def __init__(self, scenarios: dict[str, Scenario]) -> None:
        self.scenarios = scenarios
        self._patterns: dict[str, re.Pattern[str]] = {}
        self.add(scenarios)

    def add(self, scenarios: dict[str, Scenario]) -> None:
        """Add scenarios; a scenario of the same name is replaced. Raises BadScenario."""
        for name, scenario in scenarios.items():
            self._patterns.pop(name, None)
            if scenario.match is not None:
                try:
                    self._patterns[name] = re.compile(scenario.match, re.IGNORECASE)
                except re.error as exc:
                    raise BadScenario(f"scenario {name}: match: {exc}") from None
        self.scenarios = {**self.scenarios, **scenarios}

    def find(self, text: str, offered: Collection[str]) -> tuple[str, int] | None:
        """The scenario that a text of the user asks for, and the number of its first step. A mark wins over a match.

        `offered` are the names of the tools that the request offers.
        """
        marked = [m for m in MARK.finditer(text) if m[1] in self.scenarios]
        if marked:
            return marked[-1][1], int(marked[-1][2] or 0)
        for name, pattern in self._patterns.items():
            if pattern.search(text) and all(tool in offered for tool in self.scenarios[name].needs):
                return name, 0
        return None

    def place(self, messages: list[Json], offered: Collection[str] = ()) -> Place | None:
        """The place of the conversation in its scenario; None if no scenario matches."""
        answers = 0
        for index in range(len(messages) - 1, -1, -1):
            message = messages[index]
            if message["role"] == "assistant":
                answers += 1
                continue
            for text in reversed(list(texts(message))):
                if found := self.find(text, offered):
                    return Place(found[0], found[1] + answers, index)
        return None

    def asks_summary(self, messages: list[Json]) -> bool:
        """Whether the last text asks for a summary of the conversation, and is not the task of a scenario."""
        said = list(texts(messages[-1]))
        return bool(said) and _ASKS_SUMMARY.search(said[-1]) is not None and self.find(said[-1], ()) is None

    def step(self, messages: list[Json], place: Place | None) -> Step:
        """The answer to this conversation, with its templates filled."""
        if self.asks_summary(messages):
            if place is None:
                return Step(text=DEFAULT_SUMMARY)
            said = self.scenarios[place.name].summary
            return Step(text=f"{said} [play:{place.name}@{place.step}]")
        if place is None:
            return Step(text=NO_MATCH)
        step = _nth(self.scenarios[place.name].steps, place.step)
        if step is None:
            return Step(text="Done.")
        return msgspec.structs.replace(step, content=[_fill(b, messages, place) for b in step.blocks()])


def _nth(steps: list[Step], index: int) -> Step | None:
    for step in steps:
        if index < len(step):
            return _nth(step.steps, index % (len(step) // step.repeat)) if step.steps else step
        index -= len(step)
    return None


def _fill(value: Any, messages: list[Json], place: Place) -> Any:
    match value:
        case str():
            return _SLOT.sub(lambda m: _slot(m[1], m[2] or "", messages, place), value) if "{{" in value else value
        case list():
            return [_fill(v, messages, place) for v in value]  # pyright: ignore[reportUnknownVariableType]
        case dict():
            return {k: _fill(v, messages, place) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value


def _slot(kind: str, pattern: str, messages: list[Json], place: Place) -> str:
    if kind == "step":
        return str(place.step)
    source = result_texts if kind == "result" else texts
    since = messages[place.began :] if kind == "result" else messages
    said = [t for message in since if message["role"] == "user" for t in source(message)]
    for text in reversed(said):
        found = [m[1] if m.groups() else m[0] for m in re.finditer(pattern, text)]
        if found := [text for text in found if text]:
            return found[-1]
    return f"(no match of {pattern})"
