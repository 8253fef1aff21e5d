"""Output of the agent is untrusted, and the death of the agent fails one call only."""

import asyncio
import os
import shutil
import signal

import pytest

from holdfast.bus.tools import SANDBOX
from holdfast.sandbox.drivers import SandboxLost
from holdfast.sandbox.drivers.hand_spec import HandSpec
from tests.escape.conftest import Inside, MakeSandbox, text_of
from tests.support.eventually import eventually

HOSTILE_AGENT = """
import json, os, struct, time
out = open(1, "wb", buffering=0)
def frame(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    out.write(struct.pack(">I", len(data)) + data)
def main():
    frame({{"hello": 1}})
    os.read(0, 65536)  # the first call, whose number is 1
    {body}
    time.sleep(60)
"""
"""An agent that does not keep to its protocol, as if the model's code had taken it over. `{body}` is one attack."""

FORGERIES = {
    "a result of no call": 'frame({"id": 999, "content": [{"type": "text", "text": "x"}], "is_error": False})',
    "no json": 'frame(b"not json")',
    "wrong types": 'frame({"id": "one", "content": "x"})',
    "a path to open": 'frame({"id": 1, "content": [{"type": "file", "path": "/etc/passwd"}]})',
    "an address to fetch": (
        'frame({"id": 1, "content": [{"type": "image", "source": {"type": "url", "url": "http://x"}}]})'
    ),
    "a huge frame": 'out.write(struct.pack(">I", 4_000_000_000)); out.write(b"x" * 100)',
    "a large frame of a tool that returns text": 'out.write(struct.pack(">I", 8_000_000)); out.write(b"x" * 100)',
    "media that are not base64": (
        'frame({"id": 1, "is_error": False, "content": [{"type": "image", '
        '"source": {"type": "base64", "media_type": "image/png", "data": "\\u001b"}}]})'
    ),
    "too many blocks": 'frame({"id": 1, "content": [{"type": "text", "text": "x"}] * 1000})',
    "a huge text": 'frame({"id": 1, "content": [{"type": "text", "text": "x" * 5_000_000}]})',
    "unknown fields": 'frame({"id": 1, "content": [{"type": "text", "text": "x", "cache_control": {}}]})',
    "an endless stream": 'while True: frame({"id": 5, "content": []})',
    "output of no call": 'frame({"id": 999, "output": "x"})',
    "endless output": 'while True: frame({"id": 1, "output": "x"})',
    "a huge output": 'frame({"id": 1, "output": "x" * 500_000})',
    "broken output": r"""frame(b'{"id": 1, "output": "\\ud800"}')""",
    "broken text": r"""frame(b'{"id": 1, "content": [{"type": "text", "text": "\\ud800"}]}')""",
}


async def test_escape_sequences_and_control_characters_are_removed_or_escaped(inside: Inside) -> None:
    seen = await inside.sh(
        "printf 'a\\033[31mred\\033[0m \\033]52;c;ZXZpbA==\\007 \\033]0;title\\033\\\\"
        " \\033Pdevice\\033\\\\ b\\000c\\007d\\nline"
        " \\xe2\\x80\\xaeevil\\xe2\\x80\\xac \\xff\\xfe \\xc2\\x9b31m \\x7f'"
    )
    assert "\x1b" not in seen
    assert all(ord(c) >= 32 or c in "\n\t" for c in seen)
    assert not any(c in seen for c in "\u202e\u202c\x7f\x9b")
    assert "52;c;" not in seen
    assert "title" not in seen
    assert "ared" in seen
    assert "\\u202e" in seen
    assert "b\\x00c" in seen
    assert "�" in seen
    await inside.sh("printf 'x\\033[2Jy\\000z' > odd.txt")
    assert text_of(await inside.call("read", file_path="odd.txt")) == "x\\x1b[2Jy\\x00z"
    await inside.sh("touch $'a\\033[31mb\\nc'")
    assert "\x1b" not in text_of(await inside.call("glob", pattern="a*"))


async def hostile(make: MakeSandbox, body: str) -> Inside:
    """A sandbox whose agent is replaced by one that answers the first call with the attack `body`."""
    first = await make()
    for folder in first.data.glob("*/*/agent/agent"):
        (folder / "main.py").write_text(HOSTILE_AGENT.format(body=body))
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    return await make()


@pytest.mark.parametrize("body", FORGERIES.values(), ids=FORGERIES)
async def test_a_forged_frame_ends_the_sandbox(make: MakeSandbox, body: str) -> None:
    inside = await hostile(make, body)
    with pytest.raises(SandboxLost):
        await inside.sh("true")
    assert await inside.sandbox.wait()


@pytest.mark.parametrize("body", ['out.write(struct.pack(">I", 1_000_000)); out.write(b"{")', "pass"])
async def test_an_answer_that_does_not_end_ends_the_call_at_its_time_limit(make: MakeSandbox, body: str) -> None:
    inside = await hostile(make, body)
    with pytest.raises(SandboxLost) as lost:
        await inside.sh("true", timeout_ms=1000)
    assert "did not answer" in lost.value.reason


async def test_the_end_of_the_agent_fails_one_call_and_keeps_the_files(inside: Inside) -> None:
    await inside.sh("echo kept > file")
    call = asyncio.create_task(inside.sh("touch started; sleep 99"))

    async def started() -> bool:
        return (inside.workspace / "started").exists()

    await eventually(started, what="the command")
    os.kill(inside.first_process, signal.SIGKILL)
    with pytest.raises(SandboxLost) as lost:
        await call
    assert lost.value.reason == "it was ended from inside"
    again = await inside.driver.create(HandSpec(key=inside.key, kind=SANDBOX, generation="sbx_again"))
    assert text_of(await again.run("x", "bash", {"command": "cat file"})).startswith("kept\n[this is a new sandbox")
