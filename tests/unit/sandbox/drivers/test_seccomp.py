"""The system call policy, asked through an interpreter of the filter program."""

import errno
import json
import platform
import struct
from pathlib import Path

import pytest

from holdfast.sandbox.drivers.bubblewrap import seccomp

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS, NO_FAMILY = (0x50000 | code for code in (errno.EPERM, errno.ENOSYS, errno.EAFNOSUPPORT))

NUMBERS = json.loads(Path(seccomp.__file__).with_name("syscalls.json").read_text())


def asked(machine: str, number: int, *args: int, arch: int | None = None) -> int:
    """What the kernel would answer to this call."""
    arch = seccomp.AUDIT_ARCH[machine] if arch is None else arch
    data = {0: number, 4: arch} | {16 + 8 * index: value & 0xFFFFFFFF for index, value in enumerate((*args, *[0] * 6))}
    steps = list(struct.iter_unpack("<HBBI", seccomp.compiled(machine)))
    at = accumulator = 0
    while True:
        code, true, false, operand = steps[at]
        at += 1
        if code == 0x20:
            accumulator = data[operand]
        elif code == 0x54:
            accumulator &= operand
        elif code == 0x15:
            at += true if accumulator == operand else false
        elif code == 0x25:
            at += true if accumulator > operand else false
        else:
            assert code == 0x06
            return int(operand)


@pytest.fixture(params=seccomp.MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def number(machine: str, name: str) -> int:
    return int(NUMBERS[name][machine])


def test_exactly_the_listed_calls_are_allowed(machine: str) -> None:
    policy = seccomp.profile()
    special = {*policy.errno, *policy.conditions}
    allowed = {number(machine, name) for name in policy.allow if machine in NUMBERS[name]}
    conditional = {number(machine, name) for name in special}
    assert not allowed & conditional
    for candidate in range(NUMBERS["last"][machine] + 1):
        if candidate not in conditional:
            assert asked(machine, candidate) == (ALLOW if candidate in allowed else EPERM), candidate


def test_what_is_newer_than_the_table_does_not_exist(machine: str) -> None:
    assert asked(machine, NUMBERS["last"][machine] + 1) == ENOSYS
    assert asked(machine, 0x40000000) == ENOSYS, "x32"
    assert asked(machine, number(machine, "clone3")) == ENOSYS


def test_another_architecture_kills(machine: str) -> None:
    for arch in (
        0x40000003,
        0x40000028,
        0,
        *(seccomp.AUDIT_ARCH[other] for other in seccomp.MACHINES if other != machine),
    ):
        assert asked(machine, 0, arch=arch) == KILL


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
    assert asked(machine, number(machine, "socket"), *args) == answer


def test_arguments_that_decide(machine: str) -> None:
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert asked(machine, number(machine, "clone"), flag | 17) == EPERM
    assert asked(machine, number(machine, "clone"), 0x3D0F00) == ALLOW, "a thread"
    assert asked(machine, number(machine, "ioctl"), 0, 0x5412) == EPERM
    assert asked(machine, number(machine, "ioctl"), 0, 0x541C) == EPERM
    # The upper half of the argument is not looked at by the kernel either.
    assert asked(machine, number(machine, "ioctl"), 0, 0x1_0000_5412) == EPERM
    assert asked(machine, number(machine, "ioctl"), 0, 0x5401) == ALLOW
    assert asked(machine, number(machine, "socketpair"), 1, 1, 0) == ALLOW
    assert asked(machine, number(machine, "socketpair"), 40, 1, 0) == NO_FAMILY
    assert asked(machine, number(machine, "personality"), 0xFFFFFFFF) == ALLOW
    assert asked(machine, number(machine, "personality"), 0x0040000) == EPERM, "no address randomization off"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the header is that of this machine")
def test_the_numbers_are_those_of_the_kernel_s_header() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("no kernel headers here")
    real = dict(line.split()[1:3] for line in header.read_text().splitlines() if line.startswith("#define __NR_"))
    for name, row in NUMBERS.items():
        if f"__NR_{name}" in real and "x86_64" in row:
            assert row["x86_64"] == int(real[f"__NR_{name}"]), name


def test_an_unknown_machine_is_said() -> None:
    with pytest.raises(seccomp.UnknownMachine, match="riscv64"):
        seccomp.compiled("riscv64")
