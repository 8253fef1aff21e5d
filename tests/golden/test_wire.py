"""The bytes of every message, as version 2 wrote them first: they are decoded and come out the same for ever.

A new optional field or event type is added to a new file beside these; a file that is here is never changed.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.bus import codec, commands
from holdfast.bus import events as ev
from holdfast.bus.codec import BlobInput
from holdfast.bus.commits import Commit
from holdfast.bus.errors import Damaged, Newer
from holdfast.bus.inputs import AnyInput, ClientInput

HERE = Path(__file__).parent / "v2"
COMMANDS = {
    kind.__name__.lower(): kind for kind in (*commands.Command.__subclasses__(), commands.Delta, commands.Output)
}
KNOWN = [kind for kind in ev.AnyEvent.__args__ if kind is not ev.Unknown]


def golden(name: str) -> bytes:
    return (HERE / f"{name}.json").read_bytes().rstrip(b"\n")


def test_a_commit_with_every_event() -> None:
    data = golden("commit")
    commit = codec.decode_commit(data)
    assert codec.encode(commit) == data
    assert {type(e) for e in commit.events} == set(KNOWN)
    raw = msgspec.json.decode(data)
    assert raw["v"] == 2, "the version is explicit"
    assert raw["events"][-1]["_thread"] == "sthr_2", "any event may belong to a thread"
    for event in KNOWN:
        shown = set().union(*(e for e in raw["events"] if e["type"] == event.__struct_config__.tag))
        fields = {f.encode_name for f in msgspec.structs.fields(event)} - {"_thread"}
        assert fields <= shown, f"a field of {event.__name__} is not pinned"


def test_the_head_of_a_commit() -> None:
    raw = msgspec.json.decode(golden("commit"))
    fields = {f.encode_name for f in msgspec.structs.fields(Commit)}
    assert fields == set(raw)
    head = codec.decode_commit(golden("commit")).head
    left_out = {f.name for f in msgspec.structs.fields(type(head))} - set(raw["head"])
    assert left_out == set[str]()


@pytest.mark.parametrize("name", ["client", "result", "hand_gone", "nudge", "blob"])
def test_inputs(name: str) -> None:
    data = golden(f"input.{name}")
    value = codec.decode_input(data)
    assert codec.encode(value) == data
    assert set(msgspec.json.decode(data)) == {f.encode_name for f in msgspec.structs.fields(value)} | {"type"}


def test_every_input_is_pinned() -> None:
    kinds = {str(kind.__struct_config__.tag) for kind in (*AnyInput.__args__, BlobInput)}
    assert kinds == {p.stem.removeprefix("input.") for p in HERE.glob("input.*.json")}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_commands(name: str) -> None:
    """A field that came later is in a file of its own, as `command.vaultrequest.webhook`."""
    shown: set[str] = set()
    for path in (HERE / f"command.{name}.json", *HERE.glob(f"command.{name}.*.json")):
        data = golden(path.stem)
        assert msgspec.json.encode(msgspec.json.decode(data, type=COMMANDS[name])) == data
        shown |= set(msgspec.json.decode(data))
    assert shown == {f.encode_name for f in msgspec.structs.fields(COMMANDS[name])}


def _with(data: bytes, **fields: Any) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(data), **fields})


def test_fields_of_a_newer_writer_are_ignored() -> None:
    data = golden("commit")
    raw = msgspec.json.decode(data)
    raw["new"] = raw["head"]["new"] = {"deep": [1]}
    raw["head"]["claim"]["new"] = raw["head"]["threads"][""]["new"] = 1
    for event in raw["events"]:
        event["new"] = "field"
    assert codec.decode_commit(msgspec.json.encode(raw)) == codec.decode_commit(data)
    given = golden("input.client")
    assert codec.decode_input(_with(given, new=1)) == codec.decode_input(given)
    for name, kind in COMMANDS.items():
        command = golden(f"command.{name}")
        assert msgspec.json.decode(_with(command, new=1), type=kind) == msgspec.json.decode(command, type=kind)


def test_an_event_of_a_newer_writer_does_not_stop_a_reader() -> None:
    raw = msgspec.json.decode(golden("commit"))
    raw["events"].insert(1, {"type": "agent.teleported", "id": "sevt_new", "to": "Mars"})
    events = codec.decode_commit(msgspec.json.encode(raw)).events
    assert events[1] == ev.Unknown(id="sevt_new", of="agent.teleported")
    assert not ev.is_shown(events[1])
    assert len(events) == len(KNOWN) + 2


def test_what_is_newer_is_told_from_what_is_damaged() -> None:
    commit, given = golden("commit"), golden("input.client")
    later: Any = {"type": "user.later", "id": "sevt_9"}
    for newer in (_with(commit, v=3), _with(commit, v=3, head=7)):
        with pytest.raises(Newer):
            codec.decode_commit(newer)
    for newer in (
        _with(given, v=3),
        _with(given, v=3, events=7),
        _with(given, type="later"),
        _with(given, events=[later]),
    ):
        with pytest.raises(Newer):
            codec.decode_input(newer)
    for bad in (
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"{}",
        b"[" * 100_000,
        _with(commit, v="2"),
        _with(commit, head=7),
    ):
        with pytest.raises(Damaged):
            codec.decode_commit(bad)
    for bad in (
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff",
        _with(given, v="2"),
        _with(given, type=7),
        _with(given, events=[1]),
        _with(given, events=[{"type": "user.message", "id": "sevt_1", "content": 5}]),
    ):
        with pytest.raises(Damaged):
            codec.decode_input(bad)
    raw = msgspec.json.decode(commit)
    raw["events"][1]["content"] = 5
    with pytest.raises(Damaged):
        codec.decode_commit(msgspec.json.encode(raw))


def test_a_client_input_keeps_its_events() -> None:
    value = codec.decode_input(golden("input.client"))
    assert isinstance(value, ClientInput)
    assert [ev.type_of(e) for e in value.events] == [
        "user.message", "user.interrupt", "user.tool_confirmation", "user.custom_tool_result",
    ]  # fmt: skip
