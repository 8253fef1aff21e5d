"""Comparisons of 64-bit arguments in filters for a machine of 32 bits."""

import operator
import struct
from collections.abc import Callable
from random import Random

import pytest

from holdfast.sandbox.drivers.bubblewrap import bpf
from tests.support import bpf_machine

COMPARISONS: dict[bpf.Comparison, Callable[[int, int, int], bool]] = {
    "SCMP_CMP_NE": lambda argument, value, _: argument != value,
    "SCMP_CMP_LT": lambda argument, value, _: argument < value,
    "SCMP_CMP_LE": lambda argument, value, _: argument <= value,
    "SCMP_CMP_EQ": lambda argument, value, _: argument == value,
    "SCMP_CMP_GE": lambda argument, value, _: argument >= value,
    "SCMP_CMP_GT": lambda argument, value, _: argument > value,
    "SCMP_CMP_MASKED_EQ": lambda argument, mask, value: argument & mask == value,
}

ARCH = bpf.AUDIT_ARCH["x86_64"]
NO = bpf.errno(1)


def around(random: Random) -> int:
    """A number that is often equal to another one in a half, or differs from it by 1."""
    halves = [random.choice((0, 1, 2, 5, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)) for _ in range(2)]
    return halves[0] << 32 | halves[1]


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_a_comparison_is_that_of_the_whole_number(comparison: bpf.Comparison) -> None:
    random = Random(comparison)
    for _ in range(500):
        value = around(random)
        second = around(random) & value
        program = bpf.program("x86_64", {7: [([(3, comparison, value, second)], bpf.ALLOW)]}, default=NO, last=9)
        for argument in (value, second, value ^ 1, value ^ 1 << 32, *[around(random) for _ in range(8)]):
            holds = COMPARISONS[comparison](argument, value, second)
            assert bpf_machine.run(program, ARCH, 7, (0, 0, 0, argument)) == (bpf.ALLOW if holds else NO)


def test_all_conditions_of_a_rule_must_hold_and_the_first_such_rule_decides() -> None:
    rules: list[bpf.Rule] = [
        ([(0, "SCMP_CMP_EQ", 1, 0), (1, "SCMP_CMP_NE", 2, 0), (2, "SCMP_CMP_GT", 3, 0)], bpf.ALLOW),
        ([(0, "SCMP_CMP_EQ", 1, 0), (1, "SCMP_CMP_LE", 5, 0)], bpf.errno(5)),
        ([(2, "SCMP_CMP_LT", 2, 0)], bpf.errno(6)),
    ]
    program = bpf.program("x86_64", {7: rules}, default=NO, last=9)
    for arguments, expected in (
        ((1, 3, 4), bpf.ALLOW), ((1, 2, 4), bpf.errno(5)), ((1, 3, 3), bpf.errno(5)), ((1, 6, 1), bpf.errno(6)),
        ((2, 3, 4), NO), ((2, 3, 1), bpf.errno(6)), ((1, 6, 9), bpf.ALLOW),
    ):  # fmt: skip
        assert bpf_machine.run(program, ARCH, 7, arguments) == expected, arguments


def test_many_rules_of_one_call_are_passed_over_by_others() -> None:
    """A jump of a comparison reaches 255 instructions, and the rules of one call may be longer than that."""
    rules: list[bpf.Rule] = [([(0, "SCMP_CMP_EQ", value, 0)], bpf.ALLOW) for value in range(200)]
    program = bpf.program("x86_64", {7: rules, 8: [([(0, "SCMP_CMP_EQ", 1, 0)], bpf.ALLOW)]}, default=NO, last=9)
    assert [bpf_machine.run(program, ARCH, 8, (value,)) for value in (1, 2)] == [bpf.ALLOW, NO]
    assert [bpf_machine.run(program, ARCH, 7, (value,)) for value in (0, 199, 200)] == [bpf.ALLOW, bpf.ALLOW, NO]
    assert max(operand for operation, _, _, operand in struct.iter_unpack("<HBBI", program) if operation == 5) > 255


def test_neighbouring_calls_share_comparisons() -> None:
    rules: dict[int, list[bpf.Rule]] = {number: [([], bpf.ALLOW)] for number in (0, 1, 2, 5, 6, 9)}
    program = bpf.program("x86_64", rules, default=NO, last=9)
    allowed = [number for number in range(10) if bpf_machine.run(program, ARCH, number) == bpf.ALLOW]
    assert allowed == [0, 1, 2, 5, 6, 9]
    assert operator.floordiv(len(program), 8) == 6 + 2 + 3 + 3 + 1
