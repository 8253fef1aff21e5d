"""Compiles rules on system calls to the kernel's filter program (seccomp(2), classic BPF). Pure.

Our own compiler and not libseccomp: that library need not be on a machine, its age decides which calls it knows, and
what we need of it is an allow-list with a few conditions. `tests/unit/sandbox/drivers/test_libseccomp.py` compares the
two. See `linux/seccomp.h` and `linux/bpf_common.h` for the numbers.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

Comparison = Literal[
    "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"
]
"""Comparisons of libseccomp, all of unsigned 64-bit numbers."""

Condition = tuple[int, Comparison, int, int]
"""Argument, comparison, value, second value. SCMP_CMP_MASKED_EQ: the argument masked with `value` is the second."""

Rule = tuple[Sequence[Condition], int]
"""Conditions that must all hold, and the value that the filter then returns."""

Instruction = tuple[int, int, int, int]
"""Operation, jump if true, jump if false, operand."""

KILL: Final = 0x80000000
ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_ENOSYS: Final = 38

AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""The kernel's number of a machine and its call convention (linux/audit.h)."""

_LOAD, _AND, _JUMP, _EQUAL, _GREATER, _GREATER_OR_EQUAL, _RETURN = 0x20, 0x54, 0x05, 0x15, 0x25, 0x35, 0x06

_NUMBER_OFFSET: Final = 0
_ARCH_OFFSET: Final = 4
_ARGS_OFFSET: Final = 16
"""Offsets in `struct seccomp_data`. An argument has 8 bytes, the low half first: both machines are little-endian."""

_HALF: Final = 0xFFFFFFFF

_NEXT, _HOLDS, _FAILS = "next", "holds", "fails"
"""Targets of jumps in a condition: the next instruction, behind the condition, and behind the rule."""

_Target = Literal["next", "holds", "fails"]
_Step = tuple[int, _Target, _Target, int]
"""An instruction whose jumps are not resolved yet. Operations that are no jumps have _NEXT twice."""


def errno(code: int) -> int:
    """The value that a filter returns to make a call fail with this error number."""
    return _ERRNO | code


def program(machine: str, rules: Mapping[int, Sequence[Rule]], *, default: int, last: int) -> bytes:
    """The filter for `machine`. `rules`: number of a call to its rules, of which the first that holds decides.

    If no rule holds the filter returns `default`. Calls with a number above `last` fail with ENOSYS, and calls by
    another convention (such as 32-bit) kill the process.
    """
    return b"".join(struct.pack("<HBBI", *step) for step in _program(AUDIT_ARCH[machine], rules, default, last))


def _program(arch: int, rules: Mapping[int, Sequence[Rule]], default: int, last: int) -> Iterator[Instruction]:
    yield (_LOAD, 0, 0, _ARCH_OFFSET)
    yield (_EQUAL, 1, 0, arch)
    yield (_RETURN, 0, 0, KILL)
    yield (_LOAD, 0, 0, _NUMBER_OFFSET)
    # Refuses x32 too, whose numbers have bit 30 set.
    yield (_GREATER, 0, 1, last)
    yield (_RETURN, 0, 0, errno(_ENOSYS))
    unconditional = {number: found[0][1] for number, found in rules.items() if not found[0][0]}
    for first, end in _runs(number for number, returned in unconditional.items() if returned == ALLOW):
        yield (_GREATER, 2 if first else 1, 0, end)
        if first:
            yield (_GREATER, 0, 1, first - 1)
        yield (_RETURN, 0, 0, ALLOW)
    for number, returned in unconditional.items():
        if returned != ALLOW:
            yield (_EQUAL, 0, 1, number)
            yield (_RETURN, 0, 0, returned)
    for number, found in rules.items():
        if number not in unconditional:
            body = [instruction for rule in found for instruction in _rule(rule)]
            # An unconditional jump: those of a comparison reach 255 instructions only.
            yield (_EQUAL, 1, 0, number)
            yield (_JUMP, 0, 0, len(body) + 1)
            yield from body
            yield (_RETURN, 0, 0, default)
    yield (_RETURN, 0, 0, default)


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Neighbouring numbers as (first, last), so that one comparison covers many calls."""
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _rule(rule: Rule) -> list[Instruction]:
    """Return the rule's value if all conditions hold, else go on behind it."""
    conditions, returned = rule
    instructions: list[Instruction] = [(_RETURN, 0, 0, returned)]
    for condition in reversed(conditions):
        instructions = [*_resolved(_condition(condition), behind=len(instructions)), *instructions]
    return instructions


def _resolved(steps: Sequence[_Step], behind: int) -> Iterator[Instruction]:
    """The steps with relative jumps; `behind` instructions follow until the end of the rule."""
    for index, (operation, true, false, operand) in enumerate(steps):
        remaining = len(steps) - index - 1
        offset = {_NEXT: 0, _HOLDS: remaining, _FAILS: remaining + behind}
        yield (operation, offset[true], offset[false], operand)


def _condition(condition: Condition) -> list[_Step]:
    """Compare a 64-bit argument in two halves, since the machine of the filter has 32 bits."""
    index, comparison, value, second = condition
    low_offset = _ARGS_OFFSET + 8 * index
    high_offset = low_offset + 4
    high, low = value >> 32, value & _HALF
    if comparison == "SCMP_CMP_MASKED_EQ":
        return [
            *_masked_equal(high_offset, high, second >> 32),
            *_masked_equal(low_offset, low, second & _HALF),
        ]
    if comparison == "SCMP_CMP_EQ":
        return [*_masked_equal(high_offset, _HALF, high), *_masked_equal(low_offset, _HALF, low)]
    if comparison == "SCMP_CMP_NE":
        return [
            (_LOAD, _NEXT, _NEXT, high_offset), (_EQUAL, _NEXT, _HOLDS, high),
            (_LOAD, _NEXT, _NEXT, low_offset), (_EQUAL, _FAILS, _HOLDS, low),
        ]  # fmt: skip
    # Less is the opposite of greater or equal: the targets change places.
    greater, less = (_HOLDS, _FAILS) if comparison in ("SCMP_CMP_GT", "SCMP_CMP_GE") else (_FAILS, _HOLDS)
    last = _GREATER if comparison in ("SCMP_CMP_GT", "SCMP_CMP_LE") else _GREATER_OR_EQUAL
    return [
        (_LOAD, _NEXT, _NEXT, high_offset), (_GREATER, greater, _NEXT, high), (_EQUAL, _NEXT, less, high),
        (_LOAD, _NEXT, _NEXT, low_offset), (last, greater, less, low),
    ]  # fmt: skip


def _masked_equal(offset: int, mask: int, value: int) -> list[_Step]:
    """Compare one half of an argument."""
    if mask == 0:
        return []
    masked: list[_Step] = [] if mask == _HALF else [(_AND, _NEXT, _NEXT, mask)]
    return [(_LOAD, _NEXT, _NEXT, offset), *masked, (_EQUAL, _NEXT, _FAILS, value)]
