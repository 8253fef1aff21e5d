"""Which running stack a command talks to."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from anthropic import AsyncAnthropic, Timeout

from holdfast.cli.embedded import runfile
from holdfast.cli.embedded.stack import data_folder

FAILED: Final = 1
"""Exit code of a command that could not do what it was asked."""

TIMEOUT: Final = Timeout(60.0, connect=5.0, read=30.0)
"""Seconds; a stream sends a sign of life every ten."""

RETRIES: Final = 4
"""Times the SDK tries a request again, over 5 to 8 s: a service that died is back within a second or two."""


class NoStack(Exception):
    """No stack was found; the text says how to start one."""


class Target(msgspec.Struct, frozen=True):
    """Where the API is. `local` is the stack of this machine, None when only an address was given."""

    base_url: str
    api_key: str
    local: runfile.RunFile | None = None

    def client(self) -> AsyncAnthropic:
        """The official SDK, connected to this stack and to nothing that the environment names."""
        return AsyncAnthropic(base_url=self.base_url, api_key=self.api_key, max_retries=RETRIES, timeout=TIMEOUT)


def find(data: Path | None, environ: Mapping[str, str] = os.environ) -> Target:
    """The stack of `data`, else of HOLDFAST_BASE_URL and HOLDFAST_API_KEY, else of the default folder.

    Raises NoStack.
    """
    url, key = environ.get("HOLDFAST_BASE_URL"), environ.get("HOLDFAST_API_KEY")
    if data is None and url:
        if not key:
            raise NoStack("HOLDFAST_BASE_URL is set, but HOLDFAST_API_KEY is not: set it to a key of that stack.")
        return Target(url, key)
    folder = data_folder(data, environ).absolute()
    run = runfile.running(folder)
    if run is None:
        raise NoStack(
            f"no stack is running in {folder}.\n"
            f"Start one:            holdfast up --data {folder}\n"
            "Or name another one:  --data FOLDER, or HOLDFAST_BASE_URL and HOLDFAST_API_KEY"
        )
    return Target(run.base_url, run.api_key, run)
