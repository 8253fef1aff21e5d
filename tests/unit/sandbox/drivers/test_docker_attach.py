"""The stream of a container: its frames are put together, whatever pieces they come in."""

import asyncio

import pytest

from holdfast.sandbox.drivers.docker.attach import HEADER, STDERR_BYTES, StdoutReader

STDOUT, STDERR = 1, 2


def frame(stream: int, data: bytes) -> bytes:
    return HEADER.pack(stream, len(data)) + data


def reader_of(*pieces: bytes) -> StdoutReader:
    """A reader of a stream that has ended after these bytes."""
    stream = asyncio.StreamReader()
    for piece in pieces:
        stream.feed_data(piece)
    stream.feed_eof()
    return StdoutReader(stream)


async def test_bytes_are_joined_over_the_borders_of_frames() -> None:
    reader = reader_of(frame(STDOUT, b"ab"), frame(STDOUT, b""), frame(STDERR, b"oops"), frame(STDOUT, b"cdef"))
    assert await reader.readexactly(3) == b"abc"
    assert await reader.readexactly(3) == b"def"
    assert reader.stderr == b"oops"


async def test_the_end_of_the_stream_is_told_wherever_it_comes() -> None:
    whole = frame(STDOUT, b"abcd")
    for length in range(len(whole)):
        with pytest.raises(asyncio.IncompleteReadError):
            await reader_of(whole[:length]).readexactly(4)
    with pytest.raises(asyncio.IncompleteReadError):
        await reader_of(whole).readexactly(5)


async def test_of_the_error_output_the_beginning_is_kept() -> None:
    reader = reader_of(*[frame(STDERR, b"x" * 1000) for _ in range(50)], frame(STDOUT, b"y"))
    assert await reader.readexactly(1) == b"y"
    assert reader.stderr == b"x" * STDERR_BYTES


async def test_no_more_is_read_ahead_than_a_frame_gives() -> None:
    """So a sandbox that writes without end holds a bounded amount of memory here."""
    stream = asyncio.StreamReader()
    reader = StdoutReader(stream)
    stream.feed_data(frame(STDOUT, b"a" * 10) + frame(STDOUT, b"b" * 10))
    assert await reader.readexactly(5) == b"aaaaa"
    assert await stream.readexactly(HEADER.size + 10) == frame(STDOUT, b"b" * 10)
