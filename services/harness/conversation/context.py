"""What the model is shown of a session: events in, a valid Messages API request out. Pure.

The log keeps everything; the context keeps what later requests need. Rendering always yields a request that the API
accepts: every `tool_use` has its `tool_result` in the very next user message and results come first in it, no request
ends with an assistant message, no assistant message ends with a thinking block, no text block is empty.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored
from holdfast.bus.events import Block
from holdfast.harness.conversation.truncate import attached, cut_blocks, detached

VERSION = 1
"""Of the snapshot format; a snapshot of another version is ignored and the log is read from its start."""

SUMMARY = "This session continues from an earlier part whose history was summarised to save space. The summary:\n\n"

ASK_SUMMARY = (
    "Before we go on, the history of this session must be summarised, because it no longer fits your context. Write "
    "that summary now and nothing else: the goal and all requirements of the user, what was done and found, decisions "
    "and their reasons, the present state of files and processes, names and paths that matter, what is left to do. "
    "Do not call tools."
)

NO_RESULT = "No result of this call was recorded."

UNFIT = "unfit"
"""`stop` of a model request that was refused, most likely for what is attached: later ones go without that."""

KEPT = 100_000
"""Characters of unanswered messages that survive a compaction word for word; beyond that each is cut."""


class Item(msgspec.Struct):
    """A piece of the conversation. `id` is the model request of an assistant item, or the call of a result."""

    kind: Literal["user", "assistant", "result"]
    id: str
    blocks: list[Block]
    is_error: bool = False


class Context(msgspec.Struct, dict=True):
    """The conversation of one thread."""

    items: list[Item] = []
    fresh: int = 0
    """Characters added since the last answer of the model."""
    given_up: int = 0
    """Items when the last turn was given up: what could not be answered then need not stay word for word."""

    def __post_init__(self) -> None:
        self._rendered = _Rendering()

    def add(self, event: ev.Event) -> None:  # noqa: C901, PLR0912  one case an event
        """Fold one event. Never raises."""
        match event:
            case ev.UserMessage(content=content):
                self._push("user", event.id, content)
            case ev.AgentMessage(request=request, content=content):
                self._push("assistant", request, content)
            case ev.AgentThinking(request=request, block=block):
                if block:
                    self._push("assistant", request, [block])
            case ev.AgentToolUse() | ev.AgentCustomToolUse():
                call = {"type": "tool_use", "id": event.id, "name": event.name, "input": event.input}
                self._push("assistant", event.request, [call])
            case ev.AgentToolResult(tool_use_id=call_id) | ev.UserCustomToolResult(custom_tool_use_id=call_id):
                item = Item("result", call_id, event.content or [], bool(event.is_error))
                if not any(i.kind == "result" and i.id == call_id for i in self._since_answer()):
                    self.items.append(item)
                    self.fresh += _size(item.blocks)
            case ev.ModelRequestEnd(is_error=is_error, stop=stop):
                if stop == UNFIT:
                    self._detach()
                elif not is_error:
                    self.fresh = 0
            case ev.AgentContextCompacted(summary=summary):
                self._compact(summary)
            case ev.SessionStatusIdle(stop_reason=ev.StopReason("retries_exhausted")):
                self.given_up = len(self.items)
            case _:
                pass

    def _push(self, kind: Literal["user", "assistant"], item_id: str, blocks: list[Block]) -> None:
        last = self.items[-1] if self.items else None
        if kind == "assistant" and last and last.kind == kind and last.id == item_id:
            last.blocks = [*last.blocks, *blocks]
        else:
            self.items.append(Item(kind, item_id, blocks))
        self.fresh += _size(blocks)

    def _since_answer(self, first: int = 0) -> Iterable[Item]:
        """What came after the last answer, newest first, down to the item at `first`."""
        for index in range(len(self.items) - 1, first - 1, -1):
            if self.items[index].kind == "assistant":
                return
            yield self.items[index]

    @property
    def attachments(self) -> bool:
        """Whether there is a picture or document that the model may refuse."""
        return any(attached(i.blocks) for i in self.items)

    def _detach(self) -> None:
        """Take out what is attached since the last answer; without any, all: it may have become too much together."""
        suspects = [i for i in self._since_answer() if attached(i.blocks)]
        for item in suspects or self.items:
            item.blocks = detached(item.blocks, "the model could not be shown it")
        self._rendered = _Rendering()

    def _compact(self, summary: str) -> None:
        """Cut between whole exchanges: what the user said after the last answer stays, word for word while it fits."""
        kept = [i for i in self._since_answer(self.given_up) if i.kind == "user" and i.id != _SUMMARY_ID]
        if sum(_size(i.blocks) for i in kept) > KEPT:
            room = KEPT // sum(len(i.blocks) for i in kept)
            kept = [Item(i.kind, i.id, cut_blocks(i.blocks, room)) for i in kept]
        self._rendered, self.given_up = _Rendering(), 0
        self.items = [Item("user", _SUMMARY_ID, [{"type": "text", "text": SUMMARY + summary}]), *reversed(kept)]
        self.fresh = sum(_size(i.blocks) for i in self.items)

    def messages(self) -> list[dict[str, Any]]:
        """The conversation as `messages` of the API; empty when nothing was said yet.

        What lies before the last answer cannot change any more, so it is rendered once.
        """
        settled = next((i for i in range(len(self.items) - 1, -1, -1) if self.items[i].kind == "assistant"), 0)
        if self._rendered.items > settled:
            self._rendered = _Rendering()
        self._rendered.feed(self.items[self._rendered.items : settled])
        rendering = self._rendered.copy()
        rendering.feed(self.items[settled:])
        return rendering.finish()


_SUMMARY_ID = "summary"


class _Rendering:
    """Items into messages. `items` counts those fed so far."""

    def __init__(self) -> None:
        self.items = 0
        self._out: list[dict[str, Any]] = []
        self._calls: list[str] = []
        self._results: dict[str, Item] = {}
        self._said: list[Block] = []

    def copy(self) -> "_Rendering":
        new = _Rendering()
        new.items, new._out, new._calls = self.items, list(self._out), list(self._calls)
        new._results, new._said = dict(self._results), list(self._said)
        return new

    def feed(self, items: Sequence[Item]) -> None:
        self.items += len(items)
        for item in items:
            if item.kind == "result":
                self._results[item.id] = item
            elif item.kind == "user":
                self._said.extend(_clean(item.blocks))
            else:
                blocks = _clean(item.blocks)
                while blocks and blocks[-1].get("type") in ("thinking", "redacted_thinking"):
                    blocks.pop()
                if blocks:
                    self._flush()
                    self._say("assistant", blocks)
                    self._calls = [b["id"] for b in blocks if b.get("type") == "tool_use"]

    def finish(self) -> list[dict[str, Any]]:
        self._flush()
        out = self._out
        if out and out[0]["role"] == "assistant":
            out.insert(0, {"role": "user", "content": [{"type": "text", "text": "(The beginning is not available.)"}]})
        if out and out[-1]["role"] == "assistant":
            out.append({"role": "user", "content": [{"type": "text", "text": "Continue."}]})
        return out

    def _flush(self) -> None:
        """The user message between two answers: results of all calls first, in the order of the calls."""
        answers: list[Block] = [_result(c, self._results.get(c)) for c in self._calls]
        if content := answers + self._said:
            self._say("user", content)
        self._calls, self._results, self._said = [], {}, []

    def _say(self, role: str, content: list[Block]) -> None:
        if self._out and self._out[-1]["role"] == role:
            content = [*self._out.pop()["content"], *content]
        self._out.append({"role": role, "content": content})


def _clean(blocks: list[Block]) -> list[Block]:
    return [b for b in blocks if b.get("type") != "text" or str(b.get("text") or "").strip()]


def _result(call: str, item: Item | None) -> Block:
    if item is None:
        return {"type": "tool_result", "tool_use_id": call, "content": NO_RESULT, "is_error": True}
    block: Block = {"type": "tool_result", "tool_use_id": call}
    if content := _clean(item.blocks):
        block["content"] = content
    if item.is_error:
        block["is_error"] = True
        block.setdefault("content", "The call failed.")
    return block


def _size(blocks: list[Block]) -> int:
    """Characters of text, roughly: pictures and documents count as 6,000."""
    total = 0
    for b in blocks:
        match b.get("type"):
            case "text":
                total += len(str(b.get("text") or ""))
            case "tool_use":
                total += len(str(b.get("input")))
            case "thinking" | "redacted_thinking":
                total += len(str(b.get("thinking") or b.get("data") or ""))
            case _:
                total += 6_000
    return total


class Snapshot(msgspec.Struct):
    """A context as it was after the commit at `seq`; `count` is the number of events folded."""

    v: int
    seq: int
    count: int
    threads: dict[str, Context]


class Contexts:
    """The contexts of all threads of a session, folded in log order."""

    def __init__(self) -> None:
        self.seq = 0
        self.count = 0
        self.threads: dict[str, Context] = {"": Context(items=[])}
        self.config: ev.SessionConfig | None = None
        self.snapshot_count = 0

    def fold(self, stored: Stored) -> None:
        """Apply the next commit; one that is already folded is ignored."""
        if stored.seq <= self.seq:
            return
        for event in stored.commit.events:
            if isinstance(event, ev.SessionConfig):
                self.config = event
            self.threads.setdefault(event.thread, Context(items=[])).add(event)
        self.seq = stored.seq
        self.count = stored.commit.head.count

    def snapshot(self) -> bytes:
        """The snapshot of what was folded."""
        return msgspec.json.encode(Snapshot(VERSION, self.seq, self.count, self.threads))

    @classmethod
    def restore(cls, data: bytes | None, config: ev.SessionConfig | None = None) -> "Contexts":
        """From a snapshot; from nothing when there is none, or it cannot be used."""
        contexts = cls()
        if data is None:
            return contexts
        try:
            snap = msgspec.json.decode(data, type=Snapshot)
        except msgspec.MsgspecError:
            return contexts
        if snap.v == VERSION:
            contexts.seq, contexts.count, contexts.threads = snap.seq, snap.count, snap.threads
            contexts.snapshot_count = snap.count
            contexts.config = config
        return contexts


_CACHE = {"cache_control": {"type": "ephemeral"}}


def with_cache_marks(messages: Sequence[dict[str, Any]], marks: int = 2) -> list[dict[str, Any]]:
    """The messages with cache breakpoints at the end of the last `marks` user messages (the API takes four in all)."""
    out = list(messages)
    for index in range(len(out) - 1, -1, -1):
        if not marks:
            break
        message = out[index]
        if message["role"] == "user":
            *before, last = message["content"]
            out[index] = {"role": "user", "content": [*before, {**last, **_CACHE}]}
            marks -= 1
    return out
