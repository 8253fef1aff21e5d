"""The output of a running command, cut into pieces by the agent."""

from holdfast.sandbox.agent.live_output import LIVE_OUTPUT_CHARS, PIECE_CHARS, Pieces


def test_a_large_output_is_cut_into_pieces_up_to_its_limit() -> None:
    pieces = Pieces()
    for _ in range(100):
        pieces.add("y\n" * 50_000)
    found: list[str] = []
    while piece := pieces.take():
        found.append(piece)
    assert max(map(len, found)) == PIECE_CHARS
    assert "".join(found) == ("y\n" * LIVE_OUTPUT_CHARS)[:LIVE_OUTPUT_CHARS]
