"""The system call filter: `seccomp.json` (what is allowed) compiled to the kernel's filter program.

Our own compiler and not libseccomp: that library need not be on a fresh machine, and its age decides which names it
knows, while the policy is an allow-list with a handful of conditions. The numbers in `syscalls.json` are those of the
kernel's own tables, which never change.
"""

import errno
import json
import platform
import struct
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

# Operations of the classic packet filter (linux/bpf_common.h).
_LOAD: Final = 0x20
_AND: Final = 0x54
_EQUAL: Final = 0x15
_GREATER: Final = 0x25
_RETURN: Final = 0x06

_NUMBER: Final = 0
_ARCH: Final = 4
_ARGS: Final = 16
"""Offsets in `struct seccomp_data`; the low half of argument i is at _ARGS + 8 i (both machines are little-endian)."""

_KILL: Final = 0x80000000
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000

AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""What the kernel calls the machine (linux/audit.h). A call made any other way, such as 32-bit, kills the process."""

MACHINES: Final = tuple(AUDIT_ARCH)


class UnknownMachine(Exception):
    """There is no table of system calls for this kind of machine."""


class Test(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Argument `arg`, masked with `mask`, is one of the values `is`. Only the low 32 bits are compared: each of the
    arguments tested here is an `int` or `unsigned int` in the kernel."""

    arg: int
    values: tuple[int, ...] = msgspec.field(name="is")
    mask: int = 0xFFFFFFFF


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Allowed if every test of one row of `any` holds and no test of `none` does; else fails with `deny`."""

    deny: str
    why: str
    any: tuple[tuple[Test, ...], ...] = ()
    none: tuple[Test, ...] = ()


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The policy. A call that is not named fails with EPERM, one that is newer than the tables with ENOSYS."""

    about: str
    version: int
    allow: tuple[str, ...]
    errno: dict[str, str]
    conditions: dict[str, Condition]


Instruction = tuple[int, int, int, int]
"""Operation, jump if true, jump if false, operand."""


@cache
def profile() -> Profile:
    """The policy of this version."""
    return msgspec.json.decode(Path(__file__).with_name("seccomp.json").read_bytes(), type=Profile)


@cache
def _numbers() -> dict[str, dict[str, int]]:
    return json.loads(Path(__file__).with_name("syscalls.json").read_bytes())


def compiled(machine: str = "", policy: Profile | None = None) -> bytes:
    """The filter program for `machine` (default: this one), as bubblewrap's `--seccomp` takes it.

    Raises UnknownMachine.
    """
    machine = machine or platform.machine()
    if machine not in AUDIT_ARCH:
        raise UnknownMachine(f"no system call table for {machine}; known are {', '.join(MACHINES)}")
    return b"".join(struct.pack("<HBBI", *step) for step in _program(machine, policy or profile()))


def _program(machine: str, policy: Profile) -> Iterable[Instruction]:
    numbers = _numbers()
    yield (_LOAD, 0, 0, _ARCH)
    yield (_EQUAL, 1, 0, AUDIT_ARCH[machine])
    yield (_RETURN, 0, 0, _KILL)
    yield (_LOAD, 0, 0, _NUMBER)
    # Also refuses x32, whose numbers have bit 30 set.
    yield (_GREATER, 0, 1, numbers["last"][machine])
    yield _deny("ENOSYS")
    for first, last in _runs(numbers[name][machine] for name in policy.allow if machine in numbers[name]):
        yield (_GREATER, 2 if first else 1, 0, last)
        if first:
            yield (_GREATER, 0, 1, first - 1)
        yield (_RETURN, 0, 0, _ALLOW)
    for name, code in policy.errno.items():
        yield (_EQUAL, 0, 1, numbers[name][machine])
        yield _deny(code)
    for name, condition in policy.conditions.items():
        body = list(_condition(condition))
        yield (_EQUAL, 0, len(body), numbers[name][machine])
        yield from body
    yield _deny("EPERM")


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Neighbouring numbers as (first, last): one comparison for many calls."""
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _condition(condition: Condition) -> Iterable[Instruction]:
    for test in condition.none:
        yield from _load(test)
        for value in test.values:
            yield (_EQUAL, 0, 1, value)
            yield _deny(condition.deny)
    if not condition.any:
        yield (_RETURN, 0, 0, _ALLOW)
        return
    for row in condition.any:
        yield from _row(row)
    yield _deny(condition.deny)


def _row(row: tuple[Test, ...]) -> list[Instruction]:
    """Allow if all tests hold, else fall through behind the row."""
    steps: list[Instruction] = [(_RETURN, 0, 0, _ALLOW)]
    for test in reversed(row):
        after = len(steps)
        compare = [
            (_EQUAL, len(test.values) - 1 - index, 0 if index < len(test.values) - 1 else after, value)
            for index, value in enumerate(test.values)
        ]
        steps = [*_load(test), *compare, *steps]
    return steps


def _load(test: Test) -> list[Instruction]:
    load: Instruction = (_LOAD, 0, 0, _ARGS + 8 * test.arg)
    return [load] if test.mask == 0xFFFFFFFF else [load, (_AND, 0, 0, test.mask)]


def _deny(code: str) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | int(getattr(errno, code)))
