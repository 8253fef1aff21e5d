"""The toolchains of the programs in `examples/`: a test of one whose toolchain is not here is skipped."""

import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
CACHE = ROOT / ".cache" / "examples"
"""The packages of npm, and beside them copies of the programs in TypeScript."""

FETCH_S = 40
"""Seconds that npm has, which must be less than a test has."""

NODE_WITH_TYPES = (22, 18)
NODE_PACKAGES = ["@nats-io/transport-node@3.4.0", "@nats-io/jetstream@3.4.0"]
TYPES_FOR_OLDER_NODE = "tsx@4.23.15"

GO_PACKAGES = Path("/usr/share/gocode")


class Toolchain(NamedTuple):
    """How a program is run: the command in front of it, the folder in which it is, and what is in its environment."""

    command: list[str]
    folder: Path
    environ: dict[str, str] = {}  # noqa: RUF012  never changed


def _node() -> Toolchain:
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("needs Node.js with npm")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    strips_types = tuple(map(int, re.findall(r"\d+", version))) >= NODE_WITH_TYPES
    packages = NODE_PACKAGES if strips_types else [*NODE_PACKAGES, TYPES_FOR_OLDER_NODE]
    if not CACHE.exists() and (why := _fetch(*packages)):
        pytest.skip(f"npm cannot fetch {packages}: {why}")
    for program in EXAMPLES.glob("*.ts"):  # beside the packages, as a module looks for them there
        copy = CACHE / f"{os.getpid()}-{program.name}"
        shutil.copy(program, copy)
        copy.replace(CACHE / program.name)
    return Toolchain(["node"] if strips_types else [str(CACHE / "node_modules" / ".bin" / "tsx")], CACHE)


@functools.cache
def _fetch(*packages: str) -> str:
    """Fetch the packages into CACHE, whole or not at all: another worker may do the same. Returns why npm cannot.

    It is tried once in a process: a registry that is out of reach takes its time each time.
    """
    CACHE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE.parent, ignore_cleanup_errors=True) as folder:
        made = Path(folder) / "made"
        made.mkdir()
        (made / "package.json").write_text('{"type": "module"}')
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", "--fetch-timeout=10000"]
        argv = ["npm", "install", "--prefix", str(made), *options, *packages]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=FETCH_S, check=False)
        except subprocess.TimeoutExpired:
            return f"no answer within {FETCH_S} s"
        if done.returncode:
            return done.stderr[-200:]
        with contextlib.suppress(OSError):  # it is there by now
            made.rename(CACHE)
    return ""


def _go(*, nats: bool) -> Toolchain:
    if not shutil.which("go"):
        pytest.skip("needs Go")
    if nats and not (GO_PACKAGES / "src" / "github.com" / "nats-io" / "nats.go").exists():
        pytest.skip("needs the client of NATS for Go (Debian: golang-github-nats-io-go-nats-dev)")
    return Toolchain(["go", "run"], EXAMPLES, {"GO111MODULE": "off", "GOPATH": str(GO_PACKAGES)})


def toolchain(language: str, *, nats: bool) -> Toolchain:
    """For `py`, `ts` or `go`; `nats`: with a client of NATS. Skips the test if it is not here."""
    match language:
        case "py":
            return Toolchain([sys.executable], EXAMPLES)
        case "ts":
            return _node()
        case _:
            return _go(nats=nats)
