"""The numbers of system calls: reads `syscall_numbers.json`, and generates it from the headers of the kernel.

To bring the table up to date, with the package linux-libc-dev of Debian 13 or newer (its headers are those of all
machines, from Linux 6.11 on) unpacked in FOLDER:

    apt-get download linux-libc-dev && dpkg -x linux-libc-dev_*.deb FOLDER
    python services/sandbox/drivers/bubblewrap/syscall_table.py FOLDER LAST

LAST is the number of the newest call for which the policy (`seccomp_policy.json`) has been read through: newer calls
fail with ENOSYS, while calls of the table that the policy does not name fail with EPERM.
The number of a call never changes.
"""

import re
import sys
import textwrap
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

FILE: Final = Path(__file__).with_name("syscall_numbers.json")

HEADERS: Final = {
    "x86_64": "usr/include/x86_64-linux-gnu/asm/unistd_64.h",
    "aarch64": "usr/include/aarch64-linux-gnu/asm/unistd_64.h",
}
"""Machine to the header with its numbers, as linux-libc-dev has it."""

_DEFINITION: Final = re.compile(r"^#define __NR_(\w+)\s+(\d+)$", re.MULTILINE)


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`numbers`: machine to name to number, up to the number `last`."""

    last: int
    numbers: dict[str, dict[str, int]]


@cache
def table() -> Table:
    """The table of this version."""
    return msgspec.json.decode(FILE.read_bytes(), type=Table)


def numbers_in(header: str, last: int) -> dict[str, int]:
    """Name to number, in the order of the numbers, from the text of a header `unistd_64.h`."""
    found = {name: int(number) for name, number in _DEFINITION.findall(header) if int(number) <= last}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def generate(headers: Mapping[str, str], last: int) -> str:
    """The text of `syscall_numbers.json`. `headers`: machine to the text of its header."""
    machines: list[str] = []
    for machine, header in headers.items():
        entries = ", ".join(f'"{name}":~{number}' for name, number in numbers_in(header, last).items())
        lines = textwrap.fill(entries, 118, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
        machines.append(f'  "{machine}": {{\n' + lines.replace("~", " ") + "\n  }")
    return f'{{"last": {last}, "numbers": {{\n' + ",\n".join(machines) + "\n}}\n"


def main() -> None:
    """Write `syscall_numbers.json`; arguments: folder, last."""
    folder, last = Path(sys.argv[1]), int(sys.argv[2])
    FILE.write_text(generate({machine: (folder / path).read_text() for machine, path in HEADERS.items()}, last))


if __name__ == "__main__":
    main()
