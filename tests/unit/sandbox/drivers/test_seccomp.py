"""The system call policy, asked through an interpreter of the compiled filter."""

import errno
import itertools
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import pytest

from holdfast.sandbox.drivers.bubblewrap import bpf, seccomp, syscall_table
from holdfast.sandbox.drivers.bubblewrap.seccomp import Architecture, BadPolicy, Condition, Policy, Rule
from tests.support import bpf_machine

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS, NO_FAMILY = (0x50000 | code for code in (errno.EPERM, errno.ENOSYS, errno.EAFNOSUPPORT))

LAST = syscall_table.table().last


def decision(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """What the kernel would answer to this call."""
    arch = bpf.AUDIT_ARCH[machine] if arch is None else arch
    return bpf_machine.run(seccomp.compiled(machine), arch, number, arguments)


@pytest.fixture(params=seccomp.MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def number(machine: str, name: str) -> int:
    return syscall_table.table().numbers[machine][name]


ABSENT = ("clone3", "io_setup")
"""Calls that fail as if the kernel did not have them, so that libraries go without."""


def test_exactly_the_listed_calls_are_allowed(machine: str) -> None:
    numbers = syscall_table.table().numbers[machine]
    rules = seccomp.policy().syscalls
    conditional = {numbers[name] for rule in rules for name in rule.names if rule.args}
    allowed = {
        numbers[name]
        for rule in rules
        for name in rule.names
        if rule.action == "SCMP_ACT_ALLOW" and not rule.args and name in numbers
    }
    assert not allowed & conditional
    for candidate in set(range(LAST + 1)) - conditional - {numbers[name] for name in ABSENT}:
        assert decision(machine, candidate) == (ALLOW if candidate in allowed else EPERM), candidate


def test_the_policy_names_only_calls_that_exist() -> None:
    known = {name for numbers in syscall_table.table().numbers.values() for name in numbers}
    assert {name for rule in seccomp.policy().syscalls for name in rule.names} <= known


def test_what_is_newer_than_the_table_does_not_exist(machine: str) -> None:
    assert decision(machine, LAST + 1) == ENOSYS
    assert decision(machine, 0x40000000) == ENOSYS, "x32"
    for name in ABSENT:
        assert decision(machine, number(machine, name)) == ENOSYS


def test_another_architecture_kills(machine: str) -> None:
    others = [arch for name, arch in bpf.AUDIT_ARCH.items() if name != machine]
    for arch in (0x40000003, 0x40000028, 0, *others):
        assert decision(machine, 0, arch=arch) == KILL


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        ((1, 1, 0), ALLOW), ((1, 5, 0), ALLOW), ((2, 1, 0), ALLOW), ((2, 1, 6), ALLOW), ((2, 2, 17), ALLOW),
        ((10, 1 | 0o2000000 | 0o4000, 0), ALLOW), ((16, 3, 0), ALLOW), ((2, 3, 0), NO_FAMILY), ((2, 2, 1), NO_FAMILY),
        ((2, 1, 262), NO_FAMILY), ((10, 3, 58), NO_FAMILY), ((17, 3, 0), NO_FAMILY), ((38, 5, 0), NO_FAMILY),
        ((40, 1, 0), NO_FAMILY), ((16, 3, 9), NO_FAMILY), ((2, 10, 0), NO_FAMILY), ((0, 1, 0), NO_FAMILY),
    ],
)  # fmt: skip
def test_sockets(machine: str, args: tuple[int, ...], answer: int) -> None:
    assert decision(machine, number(machine, "socket"), *args) == answer


def test_arguments_that_decide(machine: str) -> None:
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert decision(machine, number(machine, "clone"), flag | 17) == EPERM
    assert decision(machine, number(machine, "clone"), 0x3D0F00) == ALLOW, "a thread"
    assert decision(machine, number(machine, "ioctl"), 0, 0x5412) == EPERM
    assert decision(machine, number(machine, "ioctl"), 0, 0x541C) == EPERM
    # The upper half of the argument is not looked at by the kernel either.
    assert decision(machine, number(machine, "ioctl"), 0, 0x1_0000_5412) == EPERM
    assert decision(machine, number(machine, "ioctl"), 0, 0x5401) == ALLOW
    assert decision(machine, number(machine, "socketpair"), 1, 1, 0) == ALLOW
    assert decision(machine, number(machine, "socketpair"), 40, 1, 0) == NO_FAMILY
    assert decision(machine, number(machine, "personality"), 0xFFFFFFFF) == ALLOW
    assert decision(machine, number(machine, "personality"), 0x0040000) == EPERM, "no address randomization off"


# --- the same in other words: each conditional call as a function of the 32 bits that the kernel reads --------------


def socket(family: int, kind: int, protocol: int) -> int:
    inet = family in (2, 10) and kind & 15 in (1, 2) and protocol in (0, 6, 17)
    return ALLOW if family == 1 or inet or (family, protocol) == (16, 0) else NO_FAMILY


def socketpair(family: int, kind: int, protocol: int) -> int:
    return ALLOW if family == 1 else NO_FAMILY


def ioctl(fd: int, request: int, argument: int) -> int:
    return EPERM if request in (0x5412, 0x541C) else ALLOW


def clone(flags: int, stack: int, tid: int) -> int:
    return EPERM if flags & 0x7E020000 else ALLOW


def personality(persona: int, _: int, __: int) -> int:
    return ALLOW if persona in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF) else EPERM


NUMBERS = sorted({*range(20), 29, 38, 40, 132, 255, 262, *(1 << bit for bit in range(32)), 0xFFFFFFFF})
REQUESTS = [base ^ bit for base in (0x5412, 0x541C) for bit in (0, *(1 << bit for bit in range(32)))]
PERSONAS = [0, 8, 9, 0x20000, 0x20008, 0x20009, 0xFFFFFFFF, 0xFFFFFFFE, 0x40000]
ARGUMENTS: dict[Callable[[int, int, int], int], list[tuple[int, int, int]]] = {
    socket: list(itertools.product((*range(20), 29, 40, 1 << 31), (*range(16), 0x80801), (*range(20), 132, 262))),
    socketpair: [(family, 1, 0) for family in NUMBERS],
    ioctl: [(0, request, 0) for request in (*NUMBERS, *REQUESTS)],
    clone: [(flags, 0, 0) for flags in (*NUMBERS, 17, 0x3D0F00)],
    personality: [(persona, 0, 0) for persona in (*NUMBERS, *PERSONAS)],
}


@pytest.mark.parametrize("call", ARGUMENTS, ids=lambda call: call.__name__)
def test_every_conditional_call_is_decided_by_its_low_bits(call: Callable[[int, int, int], int]) -> None:
    """With random high halves too: the kernel does not read them, so they must not change the decision."""
    random = Random(call.__name__)
    for arguments in ARGUMENTS[call]:
        expected = call(*arguments)
        for high in ((0, 0, 0), tuple(random.getrandbits(32) for _ in arguments)):
            padded = [low | half << 32 for low, half in zip(arguments, high, strict=True)]
            assert decision("x86_64", number("x86_64", call.__name__), *padded) == expected, padded


# --- what is not a policy -------------------------------------------------------------------------------------------


def policy_of(*rules: Rule, sub_architectures: tuple[str, ...] = ()) -> Policy:
    return Policy("SCMP_ACT_ERRNO", 1, (Architecture("SCMP_ARCH_X86_64", sub_architectures),), rules)


EQUAL = Condition(0, 1, "SCMP_CMP_EQ")


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (policy_of(Rule(("read",), "SCMP_ACT_ALLOW"), Rule(("read",), "SCMP_ACT_ERRNO", (EQUAL,))), "and another one"),
        (policy_of(Rule(("read",), "SCMP_ACT_ALLOW", (EQUAL, EQUAL))), "two conditions on one argument"),
        (policy_of(Rule(("read",), "SCMP_ACT_ALLOW", (Condition(0, 1, "SCMP_CMP_MASKED_EQ", 2),))), "mask removes"),
        (policy_of(Rule(("read",), "SCMP_ACT_ALLOW", (Condition(0, 1 << 64, "SCMP_CMP_EQ"),))), "more than 64 bits"),
        (policy_of(sub_architectures=("SCMP_ARCH_X86",)), "sub-architectures"),
    ],
)
def test_a_policy_that_libseccomp_would_read_differently_is_refused(policy: Policy, words: str) -> None:
    with pytest.raises(BadPolicy, match=words):
        seccomp.compile_policy(policy, "x86_64")


def test_the_file_is_in_the_format_that_docker_takes() -> None:
    """Docker ignores fields that it does not know, so a misspelt one would be lost there: here none is unknown."""
    text = Path(seccomp.__file__).with_name("seccomp_policy.json").read_bytes()
    assert set(msgspec.json.decode(text)) == {"defaultAction", "defaultErrnoRet", "archMap", "syscalls"}
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(text.replace(b'"errnoRet"', b'"errno"', 1), type=Policy)


def test_an_unknown_machine_is_named() -> None:
    with pytest.raises(seccomp.UnknownMachine, match="riscv64"):
        seccomp.compiled("riscv64")
