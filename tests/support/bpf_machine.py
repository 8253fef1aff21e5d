"""An interpreter of system call filters: what the kernel would return for a call."""

import functools
import struct
from collections.abc import Sequence
from typing import Final

_ARGUMENTS: Final = 6


@functools.lru_cache(maxsize=8)
def _instructions(program: bytes) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("<HBBI", program))


def run(program: bytes, arch: int, number: int, arguments: Sequence[int] = ()) -> int:
    """The value that the filter returns. Missing arguments are 0."""
    data = {0: number, 4: arch}
    for index in range(_ARGUMENTS):
        argument = arguments[index] if index < len(arguments) else 0
        data[16 + 8 * index], data[20 + 8 * index] = argument & 0xFFFFFFFF, argument >> 32
    instructions = _instructions(program)
    at = accumulator = 0
    while True:
        operation, true, false, operand = instructions[at]
        at += 1
        if operation == 0x20:  # load
            accumulator = data[operand]
        elif operation == 0x54:  # and
            accumulator &= operand
        elif operation == 0x05:  # jump
            at += operand
        elif operation == 0x15:  # jump if equal
            at += true if accumulator == operand else false
        elif operation == 0x25:  # jump if greater
            at += true if accumulator > operand else false
        elif operation == 0x35:  # jump if greater or equal
            at += true if accumulator >= operand else false
        else:
            assert operation == 0x06, hex(operation)  # return
            return int(operand)
