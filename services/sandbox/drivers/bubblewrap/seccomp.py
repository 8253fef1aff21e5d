"""The system call policy: reads `seccomp_policy.json`, checks it, and gives the filter program of this machine.

`seccomp_policy.json` has the format of OCI runtimes (opencontainers/runtime-spec, config-linux.md, "Seccomp") in the
form that Docker takes with `--security-opt seccomp=FILE`. It is an allow-list like Docker's default profile,
but closed where a sandbox without network and privileges needs nothing: namespaces, mounts, ptrace, keys, bpf, perf,
io_uring, userfaultfd, and raw, packet, vsock and crypto sockets.

Of the format we accept what means the same to our compiler (`bpf.py`) and to libseccomp, which compiles it for Docker:

- A call that has a rule without `args` has no other rule: libseccomp would let the first override all others.
- A rule has one condition per argument: runc would make two on the same argument alternatives of each other.
- Of rules with `args` the first in the file whose conditions all hold decides. libseccomp defines no order, so rules
  with different actions must not hold for the same arguments (as far as the kernel reads them).
- A call without a rule, or for which none of its rules holds, gets `defaultAction`.
- A call that is newer than `syscall_numbers.json` fails with ENOSYS, as in runc, so that libraries use an older one.

The kernel reads 32 bits of an `int` argument, but a filter sees 64. A condition on such an argument that allows a call
must be SCMP_CMP_MASKED_EQ with a mask of 32 bits, or high bits pass it by.
"""

import platform
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from holdfast.sandbox.drivers.bubblewrap import bpf, syscall_table

ARCHITECTURES: Final = {"SCMP_ARCH_X86_64": "x86_64", "SCMP_ARCH_AARCH64": "aarch64"}
"""The format's name of a machine to that of uname(2)."""

MACHINES: Final = tuple(ARCHITECTURES.values())
"""Machines on which sandboxes can be made."""

Unsigned = Annotated[int, msgspec.Meta(ge=0)]
"""A number below 2^64, which `check` makes sure of: msgspec has no bounds above 2^63."""


class UnknownMachine(Exception):
    """The policy or the table of system calls does not have this kind of machine."""


class BadPolicy(Exception):
    """The policy has a rule that libseccomp and our compiler would understand differently."""


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Compares argument `index` with `value`. SCMP_CMP_MASKED_EQ: the argument masked with `value` is `value_two`."""

    index: Annotated[int, msgspec.Meta(ge=0, le=5)]
    value: Unsigned
    op: bpf.Comparison
    value_two: Unsigned = 0


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What happens to the calls `names` if all conditions `args` hold."""

    names: tuple[str, ...]
    action: Literal["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"]
    args: tuple[Condition, ...] = ()
    errno_ret: int = 1
    """Error number of SCMP_ACT_ERRNO."""
    comment: str = ""


class Architecture(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    architecture: str
    sub_architectures: tuple[str, ...] = ()
    """Further call conventions that are allowed. None is: a call by another one kills the process."""


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The file."""

    default_action: Literal["SCMP_ACT_ERRNO"]
    default_errno_ret: int
    arch_map: tuple[Architecture, ...]
    syscalls: tuple[Rule, ...]


@cache
def text() -> str:
    """The file, without line ends: what Docker takes in the security option `seccomp`."""
    return msgspec.json.format(Path(__file__).with_name("seccomp_policy.json").read_text(), indent=-1)


@cache
def policy() -> Policy:
    """The policy of this version."""
    return msgspec.json.decode(text(), type=Policy)


def compiled(machine: str = "") -> bytes:
    """The filter program for `machine` (default: this one), as bubblewrap's `--seccomp` takes it.

    Raises UnknownMachine.
    """
    return _compiled(machine or platform.machine())


@cache
def _compiled(machine: str) -> bytes:
    return compile_policy(policy(), machine)


def compile_policy(policy: Policy, machine: str) -> bytes:
    """The filter program of a policy. Calls that the machine does not have are left out.

    Raises UnknownMachine and BadPolicy.
    """
    known = [ARCHITECTURES.get(entry.architecture, entry.architecture) for entry in policy.arch_map]
    if machine not in known or machine not in MACHINES:
        raise UnknownMachine(f"no system call table for {machine}; known are {', '.join(MACHINES)}")
    check(policy)
    table = syscall_table.table()
    rules: dict[int, list[bpf.Rule]] = {}
    for rule in policy.syscalls:
        returned = bpf.ALLOW if rule.action == "SCMP_ACT_ALLOW" else bpf.errno(rule.errno_ret)
        conditions: tuple[bpf.Condition, ...] = tuple(
            (arg.index, arg.op, arg.value, arg.value_two) for arg in rule.args
        )
        for name in rule.names:
            number = table.numbers[machine].get(name)
            if number is not None:
                rules.setdefault(number, []).append((conditions, returned))
    return bpf.program(machine, rules, default=bpf.errno(policy.default_errno_ret), last=table.last)


def check(policy: Policy) -> None:
    """Raises BadPolicy if libseccomp and our compiler would understand a rule differently."""
    if any(entry.sub_architectures for entry in policy.arch_map):
        raise BadPolicy("a machine has sub-architectures, which are not supported")
    counts = Counter(name for rule in policy.syscalls for name in rule.names)
    for rule in policy.syscalls:
        repeated = [name for name in rule.names if counts[name] > 1]
        if not rule.args and repeated:
            raise BadPolicy(f"{repeated[0]} has a rule without conditions, and another one")
        if len({arg.index for arg in rule.args}) < len(rule.args):
            raise BadPolicy(f"a rule of {rule.names[0]} has two conditions on one argument")
        for arg in rule.args:
            if max(arg.value, arg.value_two) >= 1 << 64:
                raise BadPolicy(f"a condition of {rule.names[0]} has a number of more than 64 bits")
            if arg.op == "SCMP_CMP_MASKED_EQ" and arg.value_two & ~arg.value:
                raise BadPolicy(f"a condition of {rule.names[0]} expects bits that its mask removes")
