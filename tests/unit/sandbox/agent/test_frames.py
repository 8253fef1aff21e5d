"""Frames of the agent, in whatever pieces they come."""

import pytest

from holdfast.sandbox.agent.frames import FrameReader, decode, encode


def test_frames_come_out_whole_in_whatever_pieces_they_come() -> None:
    values = [{"id": 1, "text": "grün"}, [], "x" * 1000, None]
    stream = b"".join(encode(value) for value in values)
    for size in (1, 3, 700, len(stream)):
        reader = FrameReader(limit=2000)
        found: list[object] = []
        for at in range(0, len(stream), size):
            reader.add(stream[at : at + size])
            while (frame := reader.next()) is not None:
                found.append(decode(frame))
        assert found == values


def test_a_frame_that_is_too_large_is_refused_by_its_header() -> None:
    reader = FrameReader(limit=10)
    reader.add(encode("x" * 8))
    assert decode(reader.next() or b"") == "x" * 8
    reader.add(encode("x" * 9)[:4])
    with pytest.raises(ValueError, match="too large"):
        reader.next()
