"""Finds the stack on this machine for commands that need more than its API."""

import os
from collections.abc import Mapping
from pathlib import Path

from holdfast.cli.client.target import NoStack, find
from holdfast.cli.embedded.runfile import RunFile


def local_stack(data: Path | None, environ: Mapping[str, str] = os.environ) -> RunFile:
    """The running stack, found as every command finds it. Raises NoStack, also when it runs on another machine."""
    target = find(data, environ)
    if target.local is None:
        raise NoStack(
            f"HOLDFAST_BASE_URL names {target.base_url}; its processes can only be seen on its own machine.\n"
            "For a stack of this machine: --data FOLDER, or unset HOLDFAST_BASE_URL"
        )
    return target.local
