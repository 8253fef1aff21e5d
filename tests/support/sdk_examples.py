"""The examples of the official SDK, from the source archive that uv.lock names. The wheel that is installed has none.

The archive is fetched once, by pip from the package index, and kept in `.cache`. Its hash is that of the lock file.
"""

import hashlib
import os
import subprocess
import tarfile
import tempfile
import tomllib
from pathlib import Path, PurePosixPath
from typing import Final, NoReturn

import pytest

ROOT = Path(__file__).parents[2]
KEPT = ROOT / ".cache" / "sdk"
PIP = ROOT / ".cache" / "uv" / "bin" / "python"
"""The Python with pip that `make dev` makes to install uv."""

REQUIRED: Final = os.environ.get("HOLDFAST_TEST_NETWORK") == "required"
"""Whether a test fails, and is not skipped, if the archive is not here and cannot be fetched. CI sets it."""

FETCH_TIMEOUT_S: Final = 120


def unpack_examples(folder: Path) -> Path:
    """Write the folder `examples` of the archive below `folder` and return it. Skips if there is no archive."""
    archive = _archive()
    with tarfile.open(archive) as packed:  # member by member: tarfile has no filter in Python 3.11.2
        for member in packed:
            parts = PurePosixPath(member.name).parts[1:]  # without the folder `anthropic-<version>`
            content = packed.extractfile(member)
            if content is None or parts[:1] != ("examples",) or ".." in parts:
                continue
            path = folder.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())
    return folder / "examples"


def _archive() -> Path:
    """The archive, fetched if it is not here yet."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    (sdk,) = (package for package in packages if package["name"] == "anthropic")
    path = KEPT / sdk["sdist"]["url"].rpartition("/")[2]
    if not path.exists():
        _fetch(f"anthropic=={sdk['version']} --hash={sdk['sdist']['hash']}", path)
    assert f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" == sdk["sdist"]["hash"], path
    return path


def _fetch(requirement: str, path: Path) -> None:
    """Fetch what the requirement names to `path`. Another test process may do the same at the same time."""
    if not PIP.exists():
        _give_up("there is no .cache/uv, which `make dev` makes")
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        wanted = Path(folder, "requirements.txt")
        wanted.write_text(requirement + "\n")
        options = ("--quiet", "--no-deps", "--no-binary=anthropic", "--require-hashes", "--dest", folder)
        try:
            done = subprocess.run(
                [PIP, "-m", "pip", "download", *options, "--requirement", wanted],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            _give_up(f"pip did not fetch it within {FETCH_TIMEOUT_S} s")
        if done.returncode != 0:
            _give_up(f"pip: {done.stderr.strip()[-400:]}")
        Path(folder, path.name).replace(path)


def _give_up(why: str) -> NoReturn:
    sentence = f"the source archive of the SDK cannot be fetched: {why}"
    if REQUIRED:
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)
