"""How many files, pipes and connections the process may have open at once."""

import resource
from typing import Final

MAX_DESCRIPTORS: Final = 1 << 20
"""Most descriptors that a process gives itself, where the system allows more or sets no limit."""


def raise_descriptor_limit() -> int:
    """Let this process have as many descriptors as it may, and return how many.

    Each connection needs one, each sandbox several. The usual limit of 1,024 is for programs that use `select`, which
    no service does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_DESCRIPTORS
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)
