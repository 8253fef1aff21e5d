"""The pure parts of the worker: lease, admission, bookkeeping, what comes out of a sandbox."""

import struct
from pathlib import Path

import pytest

from holdfast.bus.api import Entry
from holdfast.bus.head import Call, Head
from holdfast.bus.ids import Key
from holdfast.sandbox import tools
from holdfast.sandbox.drivers import frames
from holdfast.sandbox.drivers.bubblewrap import disk
from holdfast.sandbox.drivers.bubblewrap.disk import Quota, Use
from holdfast.sandbox.drivers.frames import ProtocolViolation
from holdfast.sandbox.lease import Lease
from holdfast.sandbox.placement import Placement, admission, placement_of
from holdfast.sandbox.sandboxes import SandboxHandle


def test_a_lease_starts_nothing_after_two_thirds_and_ends_before_its_registration() -> None:
    lease = Lease(life=3.0, sent=100.0)
    assert lease.refresh == 101.0
    assert lease.may_start(101.99)
    assert not lease.may_start(102.0)
    assert 102.0 < lease.end < 103.0


OPEN = Head(
    calls=(Call("c1", "bash", "ready", "g1"), Call("c2", "bash", "ask", "g1"), Call("c3", "bash", "ready", "g0"))
)


@pytest.mark.parametrize(
    ("head", "call", "name", "answer"),
    [
        (OPEN, "c1", "bash", "run"),
        (OPEN, "c1", "write", "no"),
        (OPEN, "c2", "bash", "unknown"),
        (OPEN, "c3", "bash", "unknown"),
        (OPEN, "c4", "bash", "unknown"),
        (None, "c1", "bash", "unknown"),
        (Head(calls=OPEN.calls, archived=1), "c1", "bash", "no"),
        (Head(calls=OPEN.calls, deleted=1), "c1", "bash", "no"),
    ],
)
def test_only_an_open_ready_call_of_this_generation_is_admitted(
    head: Head | None, call: str, name: str, answer: str
) -> None:
    assert admission(head, call, name, "g1") == answer


def test_an_unreadable_placement_counts_as_none() -> None:
    assert placement_of(None) == placement_of(Entry("s", None, 1)) == placement_of(Entry("s", b"{", 1)) == Placement()


class NoBox:
    """Bookkeeping never touches the sandbox itself."""


def held() -> SandboxHandle:
    return SandboxHandle(Key("t", "s"), "g", NoBox(), 10.0)  # type: ignore[arg-type]


def test_a_call_is_known_as_long_as_the_generation_lives() -> None:
    box = held()
    entry = box.begin("c")
    assert box.idle_since() is None
    box.run(entry)
    assert entry.settled.is_set()
    box.close("c", 20.0)
    assert box.find("c") is not None
    assert entry.over.is_set()
    assert box.idle_since() == 20.0


def test_a_call_that_did_not_run_may_be_asked_for_again() -> None:
    box = held()
    entry = box.begin("c")
    box.forget("c")
    assert entry.settled.is_set()
    assert entry.phase == "checking"
    assert box.find("c") is None


def test_a_cancelled_call_is_refused_for_ever() -> None:
    box = held()
    box.refuse("c")
    assert box.refused("c")
    assert not box.refused("d")


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
def test_what_is_no_reply_is_a_breach(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        frames.decode_reply(data)


def test_control_characters_do_not_pass_even_from_a_forged_agent() -> None:
    reply = frames.decode_reply(b'{"id":1,"content":[{"type":"text","text":"a\\u0000\\u001b[31m\\n\\u009b"}]}')
    assert reply.outcome().content == [{"type": "text", "text": "a\\x00\\x1b[31m\n\\x9b"}]


def test_a_frame_that_is_too_large_is_a_breach() -> None:
    with pytest.raises(ProtocolViolation):
        frames.size_of(struct.pack(">I", frames.FRAME_BYTES + 1))


@pytest.mark.parametrize(
    ("name", "arguments", "seconds"),
    [
        ("bash", {}, 120), ("bash", {"timeout_ms": 500}, 0.5), ("bash", {"timeout_ms": 10**9}, 600),
        ("bash", {"timeout_ms": 0}, 120), ("bash", {"timeout_ms": True}, 120), ("bash", {"timeout_ms": "9"}, 120),
        ("grep", {"timeout_ms": 500}, 120),
    ],
)  # fmt: skip
def test_the_time_a_call_may_take(name: str, arguments: dict[str, object], seconds: float) -> None:
    assert tools.CallTimeouts(usual=120, most=600).limit(name, arguments) == seconds


def test_a_workspace_that_begins_over_its_limit_may_still_be_tidied() -> None:
    quota = Quota(100 << 20, 1000, 0)
    full = Use(500 << 20, 5000)
    assert quota.breach(full, 1 << 40)
    assert not quota.with_room(full).breach(full, 1 << 40)
    assert quota.with_room(full).breach(Use(600 << 20, 5000), 1 << 40)
    assert "nearly full" in Quota(1, 1, 10).breach(Use(), 5)


def test_a_workspace_is_measured_without_following_anything(tmp_path: object) -> None:
    from pathlib import Path  # noqa: PLC0415

    root = Path(str(tmp_path))
    (root / "a").mkdir()
    (root / "a" / "f").write_bytes(b"x" * 100_000)
    (root / "link").symlink_to("/usr")
    (root / "hard").hardlink_to(root / "a" / "f")
    use = disk.measure(root, Quota(1 << 40, 1 << 40, 0))
    assert use.files == 4
    assert 100_000 <= use.size < 130_000
    assert disk.measure(root / "none", Quota(1, 1, 0)) == Use()


def test_a_folder_that_may_not_be_read_hides_nothing(tmp_path: Path) -> None:
    """Tells something only when it does not run as root, whom nothing is hidden from."""
    dark = tmp_path / "dark"
    dark.mkdir()
    (dark / "big").write_bytes(b"x" * 1_000_000)
    dark.chmod(0o300)
    assert disk.measure(tmp_path, Quota(1 << 40, 1 << 40, 0)).size > 1_000_000
