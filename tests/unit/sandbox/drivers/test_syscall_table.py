"""The table of system calls is the one that the generator makes from the headers of the kernel."""

import platform
from pathlib import Path

import pytest

from holdfast.sandbox.drivers.bubblewrap import syscall_table

HEADER = """
#ifndef _ASM_UNISTD_64_H
#define _ASM_UNISTD_64_H
#define __NR_write 1
#define __NR_read 0
#define __NR_newer 5
#endif
"""


def test_the_committed_file_is_what_the_generator_writes() -> None:
    """From headers that are made of the table itself: layout and order, on every machine."""
    table = syscall_table.table()
    headers = {
        machine: "".join(f"#define __NR_{name} {number}\n" for name, number in numbers.items())
        for machine, numbers in table.numbers.items()
    }
    assert syscall_table.generate(headers, table.last) == syscall_table.FILE.read_text()


def test_a_header_is_read_up_to_the_last_call_that_the_policy_knows() -> None:
    assert list(syscall_table.numbers_in(HEADER, last=4).items()) == [("read", 0), ("write", 1)]


@pytest.mark.parametrize("machine", syscall_table.HEADERS)
def test_the_numbers_are_those_of_the_headers_on_this_machine(machine: str) -> None:
    """Headers that are older than the table lack its newest calls; newer ones must have exactly the table's."""
    header = Path("/", syscall_table.HEADERS[machine])
    if not header.exists():
        note = "" if machine == platform.machine() else f" of {machine}, which linux-libc-dev has from Linux 6.11 on"
        pytest.skip(f"no kernel headers{note} here ({header})")
    table = syscall_table.table()
    real = syscall_table.numbers_in(header.read_text(), last=1 << 20)
    known = table.numbers[machine]
    reviewed = {name: number for name, number in real.items() if number <= table.last}
    assert reviewed.items() <= known.items()
    if max(real.values()) >= table.last:
        assert reviewed == known
