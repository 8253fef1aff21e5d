"""Finds the running stack that a command uses."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from holdfast.cli.embedded import registry, runfile
from holdfast.cli.embedded.layout import data_folder
from holdfast.cli.embedded.model_endpoint import VENDOR
from holdfast.cli.sanitize import clean_line

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

API_TIMEOUT_S: Final = 60.0
API_CONNECT_TIMEOUT_S: Final = 5.0
API_READ_TIMEOUT_S: Final = 30.0
"""A stream sends a heartbeat every 10 s."""

MAX_RETRIES: Final = 4
"""Retries of the SDK, over 5 to 8 s; a service that died is restarted within 2 s."""


class NoStack(Exception):
    """No stack was found, or several; the text says how to start or to choose one."""


class Target(msgspec.Struct, frozen=True):
    """The address and key of an API. `local` is the stack on this machine, None if only an address was given."""

    base_url: str
    api_key: str
    local: runfile.RunFile | None = None

    @property
    def is_vendors_model(self) -> bool | None:
        """Whether the stack calls the model at the vendor's address; None if it is not on this machine."""
        if self.local is None:
            return None
        return (urlsplit(self.local.model_base_url or VENDOR).hostname or "").endswith("anthropic.com")

    def client(self) -> "AsyncAnthropic":
        """The official SDK, connected to this stack and to nothing that the environment names."""
        # Not with the module: the import takes a second, and env, status, logs and down need the address alone.
        from anthropic import AsyncAnthropic, Timeout  # noqa: PLC0415

        timeout = Timeout(API_TIMEOUT_S, connect=API_CONNECT_TIMEOUT_S, read=API_READ_TIMEOUT_S)
        return AsyncAnthropic(base_url=self.base_url, api_key=self.api_key, max_retries=MAX_RETRIES, timeout=timeout)


def find(data: Path | None, environ: Mapping[str, str] = os.environ) -> Target:
    """The stack that a command uses: the first of these that is given or exists.

    1. the stack of the folder `data`
    2. the address HOLDFAST_BASE_URL with HOLDFAST_API_KEY
    3. the stack of the folder HOLDFAST_DATA
    4. the stack of `.holdfast` in the current folder
    5. the only running stack of this user

    If one of the first three is given and does not run, no other stack is used instead. Raises NoStack.
    """
    url, key = environ.get("HOLDFAST_BASE_URL"), environ.get("HOLDFAST_API_KEY")
    if data is None and url:
        if not key:
            raise NoStack("HOLDFAST_BASE_URL is set, but HOLDFAST_API_KEY is not: set it to a key of that stack.")
        _check(url, key)
        return Target(url, key)
    folder = data_folder(data, environ).absolute()
    if data is not None or environ.get("HOLDFAST_DATA"):
        return _local(_named(folder, environ))
    return _local(registry.own(folder) or _only(registry.stacks(environ), folder, registry.killed(environ)))


def _check(url: str, key: str) -> None:
    """Raises NoStack for an address to which, or a key with which, no request can be sent."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:  # the port, or the brackets of an IPv6 address
        good = False
    if not good or " " in url:
        shown = url if "@" not in url else "(it holds a password)"
        raise NoStack(f"HOLDFAST_BASE_URL is no address such as http://127.0.0.1:8700: {clean_line(shown)}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise NoStack("HOLDFAST_API_KEY is no API key: it holds a space, a line end, or a character outside ASCII.")


def _local(run: runfile.RunFile) -> Target:
    return Target(run.base_url, run.api_key, run)


def _named(folder: Path, environ: Mapping[str, str]) -> runfile.RunFile:
    """The stack of a folder that the user named. Raises NoStack."""
    try:
        run = runfile.running(folder)
    except NotADirectoryError:
        raise NoStack(f"{folder} is a file; --data and HOLDFAST_DATA name the data folder of a stack.") from None
    except PermissionError:
        raise NoStack(
            f"{folder / runfile.NAME} cannot be read by this user: the stack belongs to another one."
        ) from None
    except (OSError, msgspec.MsgspecError) as exc:
        raise NoStack(f"{folder / runfile.NAME} cannot be read ({exc}). Stop that stack and start it again.") from None
    if run:
        return run
    others = registry.stacks(environ)
    raise NoStack("\n".join([f"no stack is running in {folder}.", f"Start it:      holdfast up {_data(folder)}",
                             *_listed(others)]))  # fmt: skip


def _only(stacks: Sequence[runfile.RunFile], folder: Path, killed: Sequence[str]) -> runfile.RunFile:
    """The one stack that runs. `killed` are folders of stacks that ended by themselves. Raises NoStack."""
    match stacks:
        case [run]:
            return run
        case [] if killed:
            raise NoStack(
                "\n".join(
                    [
                        "no stack is running; one ended without being stopped. Started again, its sessions continue:",
                        *(f"  holdfast up {_data(Path(data))}" for data in killed),
                    ]
                )
            )
        case []:
            raise NoStack(
                f"no stack is running: none of this user, and none in {folder}.\n"
                "Start one:     holdfast up\n"
                "Or name one:   --data FOLDER, or HOLDFAST_BASE_URL and HOLDFAST_API_KEY"
            )
        case _:
            raise NoStack("\n".join([f"{len(stacks)} stacks are running; choose one.", *_listed(stacks)]))


def _listed(stacks: Sequence[runfile.RunFile]) -> list[str]:
    return [f"Running:       {_data(Path(run.data))}   ({run.base_url})" for run in stacks]


def _data(folder: Path) -> str:
    return f"--data {shlex.quote(str(folder))}"
