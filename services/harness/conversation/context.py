"""The conversation of a session as the model is shown it, folded from events. Pure.

The log keeps everything; a context keeps what later model requests need. `rendering` turns it into a valid request.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import msgspec

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored
from holdfast.bus.events import Block
from holdfast.bus.head import PRIMARY_THREAD
from holdfast.harness.conversation.items import Item, size_of
from holdfast.harness.conversation.rendering import Rendering
from holdfast.harness.conversation.truncate import has_attachments, truncate_blocks, without_attachments

SNAPSHOT_VERSION: Final = 1
"""Version of the snapshot format. A snapshot of another version is ignored: the log is read from its start."""

SUMMARY_PREFIX: Final = (
    "This session continues from an earlier part whose history was summarised to save space. The summary:\n\n"
)

SUMMARY_PROMPT: Final = (
    "Before we go on, the history of this session must be summarised, because it no longer fits your context. Write "
    "that summary now and nothing else: the goal and all requirements of the user, what was done and found, decisions "
    "and their reasons, the present state of files and processes, names and paths that matter, what is left to do. "
    "Do not call tools."
)

ATTACHMENTS_REJECTED: Final = "unfit"
"""`stop` of a model request that was rejected, most likely because of an attachment: later ones leave it out."""

UNANSWERED_LIMIT_CHARS: Final = 100_000
"""Size of unanswered user messages that a compaction keeps unchanged; above it each text is truncated."""

_SUMMARY_ID: Final = "summary"


class Context(msgspec.Struct, dict=True):
    """The conversation of one thread."""

    items: list[Item] = []
    fresh: int = 0
    """Characters added since the last response of the model."""
    given_up: int = 0
    """Number of items when the last turn was given up: a compaction need not keep those unchanged."""

    def __post_init__(self) -> None:
        self._settled = Rendering()
        """The rendering of the items before the last assistant item: they do not change any more."""
        self._inputs: dict[str, dict[str, Any]] = {}
        """The inputs of all tool calls, by id of the call."""
        self.tool_names: dict[str, None] = {}
        """Names of the tools whose calls are in the conversation, in the order of their first call."""
        for item in self.items:
            self._index(item.blocks)

    def _index(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            if block.get("type") == "tool_use":
                self._inputs[block["id"]] = block["input"]
                self.tool_names[block["name"]] = None

    def after(self, events: Iterable[ev.Event], thread: str) -> "Context":
        """The context as it will be after those events of `thread`: messages, results, starts of requests.

        Events of a response would change items that both share.
        """
        new = Context([], self.fresh, self.given_up)
        new.items, new._settled = list(self.items), self._settled
        new._inputs, new.tool_names = dict(self._inputs), dict(self.tool_names)
        for event in events:
            if event.thread == thread:
                new.add(event)
        return new

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
                if not any(i.kind == "result" and i.id == call_id for i in self._since_response()):
                    self.items.append(item)
                    self.fresh += size_of(item.blocks)
            case ev.ModelRequestEnd(is_error=is_error, stop=stop, missed=missed):
                if stop == ATTACHMENTS_REJECTED:
                    self._drop_attachments()
                elif not is_error:
                    self.fresh = 0
                    self._put_last(missed)
            case ev.AgentContextCompacted(summary=summary):
                self._compact(summary)
            case ev.ThreadStatusIdle(stop_reason=ev.StopReason("retries_exhausted")):
                self.given_up = len(self.items)
            case _:
                pass

    def _push(self, kind: Literal["user", "assistant"], item_id: str, blocks: list[Block]) -> None:
        last = self.items[-1] if self.items else None
        if kind == "assistant" and last and last.kind == kind and last.id == item_id:
            last.blocks = [*last.blocks, *blocks]
        else:
            self.items.append(Item(kind, item_id, blocks))
        self.fresh += size_of(blocks)
        self._index(blocks)

    def _put_last(self, missed: Sequence[str]) -> None:
        """Move messages that the last response does not answer behind it."""
        moved = [i for i in self.items if i.kind == "user" and i.id in missed] if missed else []
        if moved:
            self.items = [i for i in self.items if i not in moved] + moved
            self.fresh = sum(size_of(i.blocks) for i in moved)

    def _since_response(self, first: int = 0) -> Iterable[Item]:
        """The items after the last assistant item, newest first, down to index `first`."""
        for index in range(len(self.items) - 1, first - 1, -1):
            if self.items[index].kind == "assistant":
                return
            yield self.items[index]

    @property
    def has_attachments(self) -> bool:
        """True if it holds an image or a document, which the model may reject."""
        return any(has_attachments(i.blocks) for i in self.items)

    def tool_input(self, call_id: str) -> dict[str, Any] | None:
        """The input of the tool call; None if the call is not in the context."""
        return self._inputs.get(call_id)

    def _drop_attachments(self) -> None:
        """Drop the attachments since the last response; if there are none, all: together they may be too many."""
        suspects = [i for i in self._since_response() if has_attachments(i.blocks)]
        for item in suspects or self.items:
            item.blocks = without_attachments(item.blocks, "the model could not be shown it")
        self._settled = Rendering()

    def _compact(self, summary: str) -> None:
        """Replace the items by the summary; user messages after the last response stay, truncated if they are large."""
        kept = [i for i in self._since_response(self.given_up) if i.kind == "user" and i.id != _SUMMARY_ID]
        if sum(size_of(i.blocks) for i in kept) > UNANSWERED_LIMIT_CHARS:
            limit = UNANSWERED_LIMIT_CHARS // sum(len(i.blocks) for i in kept)
            kept = [Item(i.kind, i.id, truncate_blocks(i.blocks, limit)) for i in kept]
        self._settled, self.given_up = Rendering(), 0
        self.items = [Item("user", _SUMMARY_ID, [{"type": "text", "text": SUMMARY_PREFIX + summary}]), *reversed(kept)]
        self.fresh = sum(size_of(i.blocks) for i in self.items)
        self._inputs, self.tool_names = {}, {}

    def messages(self) -> list[dict[str, Any]]:
        """The conversation as `messages` of the API; empty if it is empty.

        Items before the last assistant item are rendered once and kept.
        """
        last = next((i for i in range(len(self.items) - 1, -1, -1) if self.items[i].kind == "assistant"), 0)
        if self._settled.item_count > last:
            self._settled = Rendering()
        self._settled.feed(self.items[self._settled.item_count : last])
        rendering = self._settled.copy()
        rendering.feed(self.items[last:])
        return rendering.finish()


class Snapshot(msgspec.Struct):
    """The contexts after the commit at stream sequence `seq`; `count` is the number of events folded."""

    v: int
    seq: int
    count: int
    threads: dict[str, Context]


class Contexts:
    """The contexts of all threads of a session, folded in log order."""

    def __init__(self) -> None:
        self.seq = 0
        """Stream sequence of the last commit that was folded."""
        self.count = 0
        """Events in the log up to `seq`."""
        self.threads: dict[str, Context] = {PRIMARY_THREAD: Context(items=[])}
        """By thread id."""
        self.config: ev.SessionConfig | None = None
        """The last configuration that was folded; None if it lies before the snapshot."""
        self.snapshot_count = 0
        """`count` of the last snapshot that was read or written."""
        self.snapshot_parts = 0
        """Parts in which that snapshot is stored; 0: it is one value (`snapshot_parts.py`)."""

    def thread(self, thread_id: str) -> Context:
        """The context of that thread; empty if nothing was said in it yet."""
        return self.threads.get(thread_id) or Context(items=[])

    def fold(self, stored: Stored) -> None:
        """Fold the next commit; a commit that was folded already is ignored."""
        if stored.seq <= self.seq:
            return
        for event in stored.commit.events:
            if isinstance(event, ev.SessionConfig):
                self.config = event
            self.threads.setdefault(event.thread, Context(items=[])).add(event)
        self.seq = stored.seq
        self.count = stored.commit.head.count

    @property
    def size(self) -> int:
        """The characters of the conversations of all threads."""
        return sum(i.size for t in self.threads.values() for i in t.items)

    def snapshot(self) -> bytes:
        """The encoded snapshot of everything that was folded."""
        return msgspec.json.encode(Snapshot(SNAPSHOT_VERSION, self.seq, self.count, self.threads))

    @classmethod
    def restore(cls, data: bytes | None) -> "Contexts":
        """The contexts of a snapshot; empty ones if there is none or it cannot be read."""
        contexts = cls()
        if data is None:
            return contexts
        try:
            snap = msgspec.json.decode(data, type=Snapshot)
        except msgspec.MsgspecError:
            return contexts
        if snap.v == SNAPSHOT_VERSION:
            contexts.seq, contexts.count, contexts.threads = snap.seq, snap.count, snap.threads
            contexts.snapshot_count = snap.count
        return contexts
