"""Frames from a sandbox: everything malformed is a violation of the protocol, and no control characters pass."""

import struct

import pytest

from holdfast.sandbox.drivers import frames
from holdfast.sandbox.drivers.frames import OutputFrame, ProtocolViolation


def test_a_frame_goes_out_with_its_length() -> None:
    data = frames.encode({"id": 1})
    assert struct.unpack(">I", data[:4])[0] == len(data) - 4
    assert frames.size_of(data[:4]) == len(data) - 4


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{}", b'{"id":1}', b'{"id":1,"content":[]}', b'{"id":1,"content":"x"}',
        b'{"id":1,"content":[{"type":"text","text":""}]}', b'{"id":1,"content":[{"type":"text","text":1}]}',
        b'{"id":1,"content":[{"type":"file","path":"/x"}]}', b'{"id":1,"content":[{"type":"text","text":"x"}],"x":1}',
        b'{"id":1,"content":[{"type":"image","source":{"type":"url","url":"http://x"}}]}',
        b'{"id":1,"content":[{"type":"image","source":{"type":"base64","media_type":"text/html","data":"x"}}]}',
        b'{"id":1,"content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"<"}}]}',
        b'{"id":1,"content":[{"type":"text","text":"\\ud800"}]}', b'{"id":1,"content":[{"type":"text","text":"\xff"}]}',
        b'{"id":1,"content":[' + b",".join([b'{"type":"text","text":"x"}'] * 9) + b"]}",
        b'{"id":1,"content":[{"type":"text","text":"' + b"x" * 500_000 + b'"}]}',
    ],
)  # fmt: skip
def test_a_malformed_reply_is_a_violation(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        frames.decode_reply(data)


def test_control_characters_do_not_pass_even_from_a_forged_agent() -> None:
    reply = frames.decode_reply(b'{"id":1,"content":[{"type":"text","text":"a\\u0000\\u001b[31m\\n\\u009b"}]}')
    assert isinstance(reply, frames.Reply)
    assert reply.outcome().content == [{"type": "text", "text": "a\\x00\\x1b[31m\n\\x9b"}]


def test_a_frame_that_is_too_large_is_a_violation() -> None:
    with pytest.raises(ProtocolViolation):
        frames.size_of(struct.pack(">I", frames.FRAME_BYTES + 1))


def test_output_is_no_result_and_its_control_characters_do_not_pass() -> None:
    found = frames.decode_reply(b'{"id":7,"output":"a\\u0000\\u001b[31m\\n\\u009b"}')
    assert isinstance(found, OutputFrame)
    assert (found.id, found.text()) == (7, "a\\x00\\x1b[31m\n\\x9b")


@pytest.mark.parametrize(
    "data",
    [
        b'{"id":1,"output":""}', b'{"id":1,"output":1}', b'{"id":1,"output":null}', b'{"output":"x"}',
        b'{"id":"1","output":"x"}', b'{"id":1,"output":"x","is_error":false}', b'{"id":1,"output":"\\ud800"}',
        b'{"id":1,"output":"\xff"}', b'{"id":1,"output":"x","content":[]}',
        b'{"id":1,"output":"' + b"x" * (frames.OUTPUT_TEXT_CHARS + 1) + b'"}',
        b'{"id":1,"output":"x"' + b" " * frames.OUTPUT_FRAME_BYTES + b"}",
    ],
)  # fmt: skip
def test_a_malformed_output_frame_is_a_violation(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        frames.decode_reply(data)
