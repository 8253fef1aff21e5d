"""Whatever bytes come: a value, Newer or Damaged. Whatever value goes: it comes back the same, in messages that fit."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.bus import codec, streams
from holdfast.bus import events as ev
from holdfast.bus.commits import Commit, commit
from holdfast.bus.errors import Damaged, Newer, TooLarge
from holdfast.bus.head import Call, Head, advance
from holdfast.bus.ids import new_id
from holdfast.bus.inputs import CallResult, ClientInput

GOLDEN = Path(__file__).parents[2] / "golden" / "v2"
COMMIT = (GOLDEN / "commit.json").read_bytes().strip()
INPUT = (GOLDEN / "input.client.json").read_bytes().strip()
EVENTS = codec.decode_commit(COMMIT).events

edits = st.lists(st.tuples(st.integers(0, len(COMMIT) - 1), st.binary(max_size=3), st.integers(0, 3)), max_size=4)
texts = st.text(st.characters(codec="utf-8"), max_size=30)


def edited(data: bytes, changes: list[tuple[int, bytes, int]]) -> bytes:
    for at, put, cut in changes:
        data = data[: at % len(data)] + put + data[at % len(data) + cut :] if data else put
    return data


@given(edits)
def test_damaged_bytes_are_read_or_a_typed_error(changes: list[tuple[int, bytes, int]]) -> None:
    for decode, data in ((codec.decode_commit, COMMIT), (codec.decode_input, INPUT)):
        try:
            decode(edited(data, changes))
        except (Newer, Damaged):
            continue


@given(st.binary(max_size=200))
@example(b"\xed\xa0\x80")
@example(b'"\\ud800"')
@example(b'{"type":"nudge","id":1e999}')
def test_any_bytes_are_read_or_a_typed_error(data: bytes) -> None:
    for decode in (codec.decode_commit, codec.decode_input):
        try:
            decode(data)
        except (Newer, Damaged):
            continue


@given(st.lists(st.sampled_from(EVENTS), max_size=40), st.integers(0, 2**50))
def test_the_head_is_total_and_the_same_from_bytes(events: list[ev.AnyEvent], now: int) -> None:
    made = commit(None, events, by="test", new_id=new_id, now=now)
    data, bodies = codec.encode_commit(made)
    assert codec.decode_commit(data) == made
    assert not bodies
    one_by_one = Head()
    for event in events:
        one_by_one = advance(one_by_one, [event], now)
    assert one_by_one.calls == made.head.calls
    assert one_by_one.threads == made.head.threads


@settings(max_examples=20)
@given(st.lists(st.integers(0, 400_000), min_size=1, max_size=30), texts)
def test_large_commits_fit_and_come_back(sizes: list[int], text: str) -> None:
    messages = [
        ev.UserMessage(id=f"sevt_{n}", content=[{"type": "text", "text": text + "x" * size}])
        for n, size in enumerate(sizes)
    ]
    made = commit(None, messages, by="test", new_id=new_id, now=1)
    data, bodies = codec.encode_commit(made)
    assert len(data) <= streams.MAX_MESSAGE_BYTES // 2 + streams.BLOB_THRESHOLD_BYTES
    stored = codec.decode_commit(data)
    assert stored.head == made.head, "the head is readable without any blob"
    assert codec.put_back(stored, {b.ref: b.data for b in bodies}) == made
    assert codec.commit_id(data) == made.id


@settings(max_examples=20)
@given(st.integers(0, 2_000_000), texts)
def test_large_inputs_fit_and_come_back(size: int, text: str) -> None:
    content = [{"type": "text", "text": text + "x" * size}]
    for value in (
        CallResult(id="sevt_1", generation="g", content=content),
        ClientInput(id="in_1", events=[ev.UserMessage(id="sevt_2", content=content)]),
    ):
        data, body = codec.encode_input(value)
        assert len(data) <= streams.BLOB_THRESHOLD_BYTES
        assert codec.decode_input(body.data if body else data) == value


def test_a_commit_that_cannot_fit_is_refused_as_too_large() -> None:
    """Only what is not an event can make it so: here, open calls by the hundred thousand."""
    calls = tuple(Call(f"sevt_{n:026d}", "bash", "ready", "sbx_0123456789") for n in range(150_000))
    made = Commit(id="cmt_1", at=1, by="test", head=Head(calls=calls), events=[])
    with pytest.raises(TooLarge):
        codec.encode_commit(made)
