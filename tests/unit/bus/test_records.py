"""Every stored record has a version that is checked when it is read, and by one function."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.bus.errors import Damaged, Newer
from holdfast.bus.records import decode_record, known_version

ROOT = Path(__file__).parents[3] / "services"

CHECKED_ELSEWHERE = {
    "Commit": "codec.decode_commit",
    "CommitOutline": "outline.decode_outline, for a part of what a commit has",
    "Snapshot": "Contexts.restore reads the log instead of a snapshot of another version",
}
"""Structs with a version that may be decoded without `decode_record`, and who checks them."""


def versioned() -> Iterator[type[msgspec.Struct]]:
    """Every struct of the services that declares a field `v`."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and any(
                isinstance(field, ast.AnnAssign) and getattr(field.target, "id", "") == "v" for field in node.body
            ):
                name = ".".join(("holdfast", *path.relative_to(ROOT).with_suffix("").parts))
                yield getattr(importlib.import_module(name), node.name)


class Record(msgspec.Struct, frozen=True):
    name: str
    v: int = 3


@pytest.mark.parametrize("kind", list(versioned()), ids=lambda kind: kind.__name__)
def test_only_the_one_function_decodes_a_record_with_a_version(kind: type[msgspec.Struct]) -> None:
    if kind.__name__.startswith("_") and kind.__module__.startswith("holdfast.bus."):
        return  # the helpers of the decoders themselves
    (field,) = (f for f in msgspec.structs.fields(kind) if f.name == "v")
    left_out = kind.__struct_config__.omit_defaults and field.default is not msgspec.NODEFAULT
    assert not left_out, "a default would be left out: an older process could not see it"
    by_hand = re.compile(rf"(Decoder\(|type=){kind.__name__}\)")
    found = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if by_hand.search(path.read_text())]
    assert not found or kind.__name__ in CHECKED_ELSEWHERE, f"use decode_record for {kind.__name__}: {found}"


def test_a_record_of_this_or_an_older_version_is_read() -> None:
    for data in (b'{"name":"a"}', b'{"name":"a","v":3}', b'{"name":"a","v":1,"more":[1]}'):
        assert decode_record(Record, data).name == "a"
    assert decode_record(Record, '{"name":"a"}') == Record("a")
    assert known_version(Record) == 3


@pytest.mark.parametrize("data", [b'{"name":"a","v":4}', b'{"name":7,"v":4}', b'{"v":99}'])
def test_a_newer_record_is_newer_whatever_else_is_in_it(data: bytes) -> None:
    with pytest.raises(Newer, match=r"a Record of version [0-9]+ .this process knows 3. was written by a newer"):
        decode_record(Record, data)
    assert Newer("x").retryable


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"v":1}', b'{"name":7}', b"\xff", b"[" * 100_000, b'{"v":"4"}'])
def test_what_is_no_record_is_damaged(data: bytes) -> None:
    with pytest.raises(Damaged) as caught:
        decode_record(Record, data)
    assert not caught.value.retryable


def test_a_version_by_default_factory_is_known() -> None:
    def made() -> Any:
        return 7

    class Other(msgspec.Struct):
        v: int = msgspec.field(default_factory=made)

    assert known_version(Other) == 7
