"""One recorded session: its log as it was stored, and what this version makes of it.

A history is a folder:

    about.json      tenant and session, the version and the protocol that recorded it
    log.jsonl       one line for each commit: its sequence, and its bytes as they were stored
    bodies/<ref>    the bodies of its blobs, as they are in the object store
    expected.json   what `readings` made of it when it was recorded

`readings` is what the parts of Holdfast that read a log tell about it: the fold, the conversation that the model is
shown, the read model, the session and the events of the API. Texts over LONG_TEXT_CHARS stand there as their hash.
"""

import hashlib
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec.structs import asdict, replace

from holdfast.bus import codec, streams
from holdfast.bus import events as ev
from holdfast.bus.commits import Stored
from holdfast.bus.head import PRIMARY_THREAD, Head, advance
from holdfast.bus.ids import Key
from holdfast.harness.conversation.context import Contexts
from holdfast.harness.tools.offered_tools import offered
from holdfast.session.log.readmodel import ReadModel
from holdfast.session.log.repository import config_in
from holdfast.session.log.serialize import event_to_api, session_to_api, visible_events

LONG_TEXT_CHARS = 500
"""Longest text that stands in `expected.json` itself."""

SET_BY_THE_WRITER = ("inbox", "taken", "recent", "claim")
"""Fields of a head that its writer sets beside the events; `advance` takes them over as they are."""

Json = dict[str, Any]


class About(msgspec.Struct):
    """Where a history comes from."""

    tenant: str
    session: str
    version: str
    protocol: int = streams.PROTOCOL

    @property
    def key(self) -> Key:
        return Key(self.tenant, self.session)


class Line(msgspec.Struct):
    """A line of `log.jsonl`."""

    seq: int
    commit: msgspec.Raw


class History:
    """A recorded session."""

    def __init__(self, about: About, lines: list[tuple[int, bytes]], bodies: dict[str, bytes]) -> None:
        """`lines`: sequence and bytes of each commit; `bodies`: by ref."""
        self.about = about
        self._lines = lines
        self._bodies = bodies
        self.stored = [Stored(seq, codec.decode_commit(data)) for seq, data in lines]
        """The commits as the log has them, large events as blobs."""
        self.whole = [Stored(s.seq, codec.put_back(s.commit, bodies)) for s in self.stored]
        """The same with their bodies."""

    @classmethod
    def load(cls, folder: Path) -> "History":
        about = msgspec.json.decode((folder / "about.json").read_bytes(), type=About)
        lines = [msgspec.json.decode(line, type=Line) for line in (folder / "log.jsonl").read_bytes().splitlines()]
        bodies = {path.name: path.read_bytes() for path in (folder / "bodies").glob("*")}
        return cls(about, [(line.seq, bytes(line.commit)) for line in lines], bodies)

    def save(self, folder: Path) -> None:
        """Write the folder, with the readings of now as the expectation."""
        folder.mkdir(parents=True)
        (folder / "about.json").write_bytes(msgspec.json.format(msgspec.json.encode(self.about)) + b"\n")
        lines = [msgspec.json.encode(Line(seq, msgspec.Raw(data))) for seq, data in self._lines]
        (folder / "log.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
        if self._bodies:
            (folder / "bodies").mkdir()
        for ref, data in self._bodies.items():
            (folder / "bodies" / ref).write_bytes(data)
        (folder / "expected.json").write_bytes(
            msgspec.json.format(msgspec.json.encode(self.readings()), indent=1) + b"\n"
        )

    @property
    def last(self) -> Head:
        return self.stored[-1].commit.head

    def folded_heads(self) -> list[Head]:
        """The head after each commit, made by `advance` from the head before it and the events."""
        heads: list[Head] = []
        before: Stored | None = None
        for stored in self.whole:
            head = before.commit.head if before else Head()
            if before and not head.config:
                head = replace(head, config=before.seq)
            folded = advance(head, stored.commit.events, stored.commit.at)
            given = {name: getattr(stored.commit.head, name) for name in SET_BY_THE_WRITER}
            heads.append(replace(folded, **given))
            before = stored
        return heads

    def requests(self) -> tuple[list[tuple[ev.ModelRequestStart, list[Json]]], list[Json]]:
        """The messages at the start of each model request, and those of the next request."""
        contexts, found = Contexts(), list[tuple[ev.ModelRequestStart, list[Json]]]()
        for stored in self.whole:
            contexts.fold(stored)
            for event in stored.commit.events:
                if isinstance(event, ev.ModelRequestStart):
                    found.append((event, contexts.thread(event.thread).messages()))
        return found, contexts.thread(PRIMARY_THREAD).messages()

    def readings(self) -> Json:
        """What this version reads from the log; JSON values."""
        requests, messages = self.requests()
        config = self._config()
        return {
            "head": without_long_texts(full(self.last)),
            "requests": [[start.id, start.purpose, digest(shown)] for start, shown in requests],
            "next_request": {
                "model": config.agent["model"],
                "tools": [tool["name"] for tool in offered(config.agent)],
                "messages": without_long_texts(messages),
                "digest": digest(messages),
            },
            **self._read_model(),
            "events": [
                without_long_texts(event_to_api(event.event, event.processed_at))
                for stored in self.whole
                for event in visible_events(stored)
            ],
        }

    def _config(self) -> ev.SessionConfig:
        return [config for stored in self.whole if (config := config_in(stored))][-1]

    def _read_model(self) -> Json:
        """The session and the row of it in lists, after the projector has read the log."""
        key = self.about.key
        model = ReadModel(None, [key.cell])
        model.tables.caught_up.set()
        batch = [(key, stored, config_in(whole)) for stored, whole in zip(self.stored, self.whole, strict=True)]
        model.projection.apply(key.cell, batch)
        rows = model.queries.sessions([("id = ?", [key.session])], ascending=True, limit=2)
        session = session_to_api(key.session, rows[0].head, rows[0].config, now=rows[0].head.at) if rows else None
        calls = [e.id for stored in self.whole for e in stored.commit.events if isinstance(e, ev.AgentCustomToolUse)]
        row = {
            "listed": len(rows),
            "claimed": len(model.queries.claimed(key.cell)),
            "incomplete": len(model.queries.incomplete(2**62)),
            "commits": model.queries.commits_below(key, 2**62, 10_000),
            "custom_calls": sorted(model.queries.custom_calls(key, calls)),
        }
        model.close()
        return {"session": without_long_texts(msgspec.to_builtins(session)), "row": row}


def full(value: Any) -> Any:
    """A struct as JSON values with every field, also those that have their default."""
    match value:
        case msgspec.Struct():
            return {name: full(field) for name, field in asdict(value).items()}
        case dict():
            return {str(name): full(field) for name, field in cast("Json", value).items()}
        case list() | tuple():
            return [full(each) for each in cast("list[Any]", value)]
        case _:
            return value


def digest(value: Any) -> str:
    """Hash of the JSON of a value, in which the order of fields counts: prompt caches compare bytes."""
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()


def without_long_texts(value: Any) -> Any:
    """The value with every long text replaced by its hash."""
    match value:
        case str() if len(value) > LONG_TEXT_CHARS:
            return f"sha256 {hashlib.sha256(value.encode()).hexdigest()} of {len(value)} characters"
        case dict():
            return {name: without_long_texts(each) for name, each in cast("Json", value).items()}
        case list():
            return [without_long_texts(each) for each in cast("list[Any]", value)]
        case _:
            return value


def differences(expected: Any, actual: Any, path: str = "") -> list[str]:
    """Where `actual` is not as expected. An object may have gained fields: a later release may tell more."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        wanted, found = cast("Json", expected), cast("Json", actual)
        missing = [f"{path}.{name}: missing" for name in wanted if name not in found]
        common = [name for name in wanted if name in found]
        return missing + [d for name in common for d in differences(wanted[name], found[name], f"{path}.{name}")]
    if isinstance(expected, list) and isinstance(actual, list):
        left, right = cast("list[Any]", expected), cast("list[Any]", actual)
        length = [] if len(left) == len(right) else [f"{path}: {len(left)} elements expected, not {len(right)}"]
        pairs = enumerate(zip(left, right, strict=False))
        return length + [d for index, pair in pairs for d in differences(*pair, f"{path}[{index}]")]
    return [] if expected == actual else [f"{path}: {expected!r} expected, not {actual!r}"]
