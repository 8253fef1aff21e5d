"""The same policy compiled by libseccomp, as runc does it for Docker, decides as our compiler's filter does."""

import ctypes
import itertools
import os
import tempfile

import pytest

from holdfast.sandbox.drivers.bubblewrap import bpf, seccomp, syscall_table
from tests.support import bpf_machine

ALLOW = 0x7FFF0000
ACTIONS = {"SCMP_ACT_ALLOW": ALLOW, "SCMP_ACT_ERRNO": 0x50000}
COMPARISONS = {
    "SCMP_CMP_NE": 1, "SCMP_CMP_LT": 2, "SCMP_CMP_LE": 3, "SCMP_CMP_EQ": 4, "SCMP_CMP_GE": 5, "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}  # fmt: skip
"""`enum scmp_compare` of seccomp.h."""


class Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp` of seccomp.h."""

    _fields_ = (
        ("arg", ctypes.c_uint), ("op", ctypes.c_int), ("datum_a", ctypes.c_uint64), ("datum_b", ctypes.c_uint64),
    )  # fmt: skip


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("libseccomp is not on this machine")
    library.seccomp_init.restype = ctypes.c_void_p
    return library


def compiled(library: ctypes.CDLL, machine: str) -> tuple[bytes, set[str]]:
    """The filter, and the names of the calls that this version of libseccomp knows for the machine."""
    policy = seccomp.policy()
    context = ctypes.c_void_p(library.seccomp_init(ACTIONS[policy.default_action] | policy.default_errno_ret))
    arch = bpf.AUDIT_ARCH[machine]
    native = library.seccomp_arch_native() & 0xFFFFFFFF
    if native != arch:
        assert library.seccomp_arch_add(context, ctypes.c_uint32(arch)) == 0
        assert library.seccomp_arch_remove(context, ctypes.c_uint32(native)) == 0
    known: set[str] = set()
    for rule in policy.syscalls:
        action = ACTIONS[rule.action] | (0 if rule.action == "SCMP_ACT_ALLOW" else rule.errno_ret)
        conditions = (Comparison * len(rule.args))(
            *[Comparison(arg.index, COMPARISONS[arg.op], arg.value, arg.value_two) for arg in rule.args]
        )
        for name in rule.names:
            if library.seccomp_syscall_resolve_name_arch(ctypes.c_uint32(arch), name.encode()) >= 0:
                known.add(name)
            # Rules take the number of this machine, which is negative for calls that only other machines have.
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number == -1:  # newer than this libseccomp
                continue
            added = library.seccomp_rule_add_array(
                context, ctypes.c_uint32(action), number, len(rule.args), conditions if rule.args else None
            )
            assert added == 0, (name, os.strerror(-added))
    with tempfile.TemporaryFile() as file:
        assert library.seccomp_export_bpf(context, file.fileno()) == 0
        file.seek(0)
        program = file.read()
    library.seccomp_release(context)
    return program, known


ARGUMENTS: dict[str, list[tuple[int, ...]]] = {
    "socket": list(itertools.product((*range(20), 29, 40, 255), (*range(16), 0x80801), (*range(20), 132, 262))),
    "socketpair": [(family, 1, 0) for family in (*range(20), 40, 1 << 16)],
    "ioctl": [
        (0, base ^ bit) for base in (0x5412, 0x541C) for bit in (*range(16), *(1 << shift for shift in range(64)))
    ],
    "clone": [(1 << shift,) for shift in range(64)] + [(17,), (0x3D0F00,)],
    "personality": [(value,) for value in (0, 8, 9, 0x20000, 0x20008, 0x20009, 0xFFFFFFFF, 0xFFFFFFFE, 0x1_0000_0000)],
}
"""Conditional calls. The conditions of `ioctl`, `clone` and `personality` only allow, so high bits are tried there too;
of `socket` and `socketpair` they also choose the error number, and with high bits rules of both kinds may hold."""


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_libseccomp_decides_the_same(library: ctypes.CDLL, machine: str) -> None:
    theirs, known = compiled(library, machine)
    ours = seccomp.compiled(machine)
    arch = bpf.AUDIT_ARCH[machine]
    table = syscall_table.table().numbers[machine]
    assert len(known) > 250
    for name, number in table.items():
        named = any(name in rule.names for rule in seccomp.policy().syscalls)
        if named and name not in known:
            continue
        for arguments in ARGUMENTS.get(name, [()]):
            expected = bpf_machine.run(ours, arch, number, arguments)
            assert bpf_machine.run(theirs, arch, number, arguments) == expected, (name, arguments)


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_libseccomp_allows_no_socket_that_we_refuse(library: ctypes.CDLL, machine: str) -> None:
    """With high bits, which the kernel does not read, its order of the rules is not ours: it may refuse more."""
    theirs, _ = compiled(library, machine)
    ours = seccomp.compiled(machine)
    arch = bpf.AUDIT_ARCH[machine]
    number = syscall_table.table().numbers[machine]["socket"]
    for arguments in itertools.product((1, 2, 3, 10, 16), (1, 2, 3, 5), (0, 1, 6)):
        for high in itertools.product((0, 1 << 32, 1 << 63), repeat=3):
            padded = [low | half for low, half in zip(arguments, high, strict=True)]
            if bpf_machine.run(theirs, arch, number, padded) == ALLOW:
                assert bpf_machine.run(ours, arch, number, padded) == ALLOW, padded
