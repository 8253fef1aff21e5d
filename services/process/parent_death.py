"""A process that is killed when its parent ends. Linux only: `prctl(2)`, PR_SET_PDEATHSIG."""

import ctypes
import os
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)
"""Loaded before any fork, because the child must not load libraries between fork and exec."""


def end_with_parent(parent: int) -> None:
    """From now on SIGKILL ends this process when process `parent` ends; it exits if that is not its parent any more."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
