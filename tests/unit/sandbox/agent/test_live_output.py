"""The output of a running command, cut into pieces by the agent."""

from random import Random

import pytest

from holdfast.sandbox.agent.live_output import LIVE_OUTPUT_BYTES, PIECE_CHARS, Pieces
from holdfast.sandbox.agent.text import clean

PRINTED = (
    "plain\n", "grün 漢字 🙂", "a\r\n", "10%\r20%\r", "\x1b[1;31mred\x1b[0m", "\x1b]0;title\x07", "\x1b]8;;x\x1b\\link",
    "\x00\x07\x7f", "\u202eevil", "\x9b31m", "\x1b(B", "\r\x1b[K", "\n", "x" * 50,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(200))
def test_however_output_is_cut_the_pieces_are_a_prefix_of_the_result(seed: int) -> None:
    random = Random(seed)
    data = "".join(random.choices(PRINTED, k=random.randint(1, 30))).encode()
    pieces, shown, at = Pieces(), "", 0
    while at < len(data):
        more = random.randint(1, 12)
        pieces.add(data[at : at + more])
        at += more
        if random.random() < 0.5:
            shown += pieces.take()
    whole = clean(data, terminal=True)
    while piece := pieces.take():
        shown += piece
    assert whole.startswith(shown)
    pieces.add(b"~end of it")
    while piece := pieces.take():
        shown += piece
    assert shown == clean(data + b"~end of it", terminal=True)


def test_a_large_output_is_cut_into_pieces_up_to_its_limit() -> None:
    pieces = Pieces()
    for _ in range(100):
        pieces.add(b"y\n" * 50_000)
    found: list[str] = []
    while piece := pieces.take():
        found.append(piece)
    assert max(map(len, found)) == PIECE_CHARS
    assert len("".join(found)) == LIVE_OUTPUT_BYTES


def test_an_escape_sequence_without_an_end_does_not_hold_the_output_for_ever() -> None:
    pieces = Pieces()
    pieces.add(b"a\x1b]0;" + b"title " * 2000)
    assert pieces.take() == "a"
    pieces.add(b"\x1b[31")
    assert pieces.take() == ""
    pieces.add(b"mred")
    assert pieces.take() == "red"
