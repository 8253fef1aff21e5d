"""How much a sandbox may use: control groups where they can be written, limits per process where not.

Three ways, tried in this order: the unified hierarchy (v2) in a subtree that is ours, the older separate hierarchies
(v1, writable as root), and rlimits. The last is weak, since memory is limited for each process alone and processor time
not at all, and needs consent.
"""

import contextlib
import errno
import os
import re
import secrets
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from holdfast.sandbox.drivers.bubblewrap import process_tree

CPU_PERIOD: Final = 100_000
"""Microseconds over which processor time is counted."""

PREFIX: Final = "holdfast-"
"""Our groups are named so, followed by the worker, so that a later one can clear away what a dead one left."""

LEAF: Final = f"{PREFIX}service"
"""Group below a delegated one into which the service itself moves, since a group with processes cannot be divided."""

MOVE_ATTEMPTS: Final = 10
"""Attempts to empty a group whose processes start others meanwhile."""

NEEDED: Final = ("memory", "pids", "cpu")
"""Controllers that limit a sandbox."""

OPTIONAL: Final = ("cpu",)
"""Those without which a subtree of the unified hierarchy is used all the same: systemd delegates to users what
`user@.service` says, in older distributions memory and pids alone."""


class Limits(msgspec.Struct, frozen=True):
    """Per sandbox: bytes of memory, processes, processors."""

    memory_bytes: int
    pids: int
    cpus: float


class Hierarchy(msgspec.Struct, frozen=True):
    """Where groups are made: `roots` maps each controller that is there to the folder that holds our groups."""

    kind: Literal["v2", "v1", "weak"]
    roots: dict[str, Path]
    cause: str = ""
    """Why it is weak."""

    @property
    def folders(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(self.roots.values()))


def find(*, mounts: str | None = None, membership: str | None = None) -> Hierarchy:
    """The best hierarchy that this process may write. The texts default to those of /proc/self."""
    mounts = Path("/proc/self/mountinfo").read_text() if mounts is None else mounts
    membership = Path("/proc/self/cgroup").read_text() if membership is None else membership
    points = _mount_points(mounts)
    own = _memberships(membership)
    causes: list[str] = []
    for attempt in (_unified, _separate):
        found = attempt(points, own)
        if isinstance(found, Hierarchy):
            return found
        causes.append(found)
    return Hierarchy("weak", {}, "; ".join(causes))


def weakness(hierarchy: Hierarchy, *, root: bool) -> str:
    """Which limits do not hold for a sandbox as a whole, and why; empty if all do. `root`: the service runs as root."""
    if hierarchy.kind != "weak":
        unoffered = [name for name in NEEDED if name not in hierarchy.roots]
        return "processor time is not limited (the control group does not offer cpu)" if unoffered else ""
    unheld = "; the number of processes is not limited, since the service runs as root" if root else ""
    return f"each process alone, not the whole sandbox (no control group can be written){unheld}"


def counts_alone(kernel: str) -> bool:
    """Whether RLIMIT_NPROC in a user namespace counts the processes in it alone, by the kernel's release (uname(2)).

    Before 5.14 all processes of the user count, wherever they are.
    """
    numbers = re.match(r"(\d+)\.(\d+)", kernel)
    return numbers is None or (int(numbers[1]), int(numbers[2])) >= (5, 14)


def threads_of_user() -> int:
    """Processes and threads that this user has now."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.stat().st_uid == os.geteuid():
                count += len(list((folder / "task").iterdir()))
        except OSError:  # it has ended meanwhile
            continue
    return count


def _mount_points(mountinfo: str) -> dict[str, tuple[Path, str]]:
    """Controller (or `unified`) to mount point and the folder of the hierarchy that is mounted there."""
    points: dict[str, tuple[Path, str]] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, rest = left.split(), right.split()
        if len(fields) < 5 or len(rest) < 3:
            continue
        if rest[0] == "cgroup2":
            points["unified"] = (Path(fields[4]), fields[3])
        elif rest[0] == "cgroup":
            for option in rest[2].split(","):
                if option in NEEDED:
                    points[option] = (Path(fields[4]), fields[3])
    return points


def _memberships(text: str) -> dict[str, str]:
    """Controller (or `unified`) to the path of our own group."""
    own: dict[str, str] = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for name in controllers.split(",") if controllers else ["unified"]:
            own[name] = path
    return own


def _here(point: tuple[Path, str], path: str) -> Path:
    mount, root = point
    inside = path[len(root) :] if root != "/" and path.startswith(root) else path
    return mount / inside.lstrip("/")


def _unified(points: Mapping[str, tuple[Path, str]], own: Mapping[str, str]) -> Hierarchy | str:
    if "unified" not in points or "unified" not in own:
        return "no unified control groups"
    here = _here(points["unified"], own["unified"])
    if here.name == LEAF:  # where an earlier look of this process has moved it
        here = here.parent
    try:
        offered = (here / "cgroup.controllers").read_text().split()
        missing = [name for name in NEEDED if name not in offered and name not in OPTIONAL]
        if missing:
            return f"control group {here} does not offer {', '.join(missing)}"
        names = [name for name in NEEDED if name in offered]
        _enable(here, names)
    except OSError as exc:
        return f"control group {here} cannot be divided ({exc.strerror})"
    return Hierarchy("v2", dict.fromkeys(names, here))


def _enable(here: Path, names: Sequence[str]) -> None:
    """Hand the controllers down. A group with processes of its own cannot, so they move into a leaf of it first: this
    process, and `holdfast up` with all that it has started if that was started in the group. Raises OSError."""
    if set(names) <= set((here / "cgroup.subtree_control").read_text().split()):
        return
    if not (here / "cgroup.type").exists():  # the root group has no type and may hold processes
        (here / "cgroup.subtree_control").write_text(_plus(names))
        return
    for _ in range(MOVE_ATTEMPTS):
        members = (here / "cgroup.procs").read_text().split()
        if not process_tree.holds_only_ours(int(pid) for pid in members):
            break
        leaf = here / LEAF
        leaf.mkdir(exist_ok=True)
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(pid)
        try:
            (here / "cgroup.subtree_control").write_text(_plus(names))
        except OSError as exc:
            if exc.errno != errno.EBUSY:  # else one of them has started another meanwhile
                raise
        else:
            return
    raise OSError(errno.EBUSY, "other processes are in it")


def _plus(names: Iterable[str]) -> str:
    return " ".join(f"+{name}" for name in names)


def _separate(points: Mapping[str, tuple[Path, str]], own: Mapping[str, str]) -> Hierarchy | str:
    if any(name not in points or name not in own for name in NEEDED):
        return "no separate control groups"
    roots = {name: _here(points[name], own[name]) for name in NEEDED}
    for root in roots.values():
        trial = root / f"{PREFIX}trial-{secrets.token_hex(8)}"  # several may look at the same time
        try:
            trial.mkdir()
            trial.rmdir()
        except OSError as exc:
            return f"control group {root} cannot be written ({exc.strerror})"
    return Hierarchy("v1", roots)


class Group:
    """The control group of one sandbox."""

    def __init__(self, hierarchy: Hierarchy, worker: str, name: str) -> None:
        self._kind = hierarchy.kind
        self._paths = {k: root / f"{PREFIX}{worker}" / name for k, root in hierarchy.roots.items()}

    @property
    def entries(self) -> tuple[str, ...]:
        """Files into which a process writes its id to be limited."""
        return tuple(dict.fromkeys(f"{path}/cgroup.procs" for path in self._paths.values()))

    def make(self, limits: Limits) -> None:
        """Create the group with its limits. Raises OSError."""
        for path in dict.fromkeys(self._paths.values()):
            path.parent.mkdir(exist_ok=True)
            if self._kind == "v2":
                (path.parent / "cgroup.subtree_control").write_text(_plus(self._paths))
            path.mkdir()
        if self._kind == "v2":
            folder = self._paths["memory"]
            (folder / "memory.max").write_text(str(limits.memory_bytes))
            _optional(folder / "memory.swap.max", "0")
            (folder / "pids.max").write_text(str(limits.pids))
            if "cpu" in self._paths:
                (folder / "cpu.max").write_text(f"{int(limits.cpus * CPU_PERIOD)} {CPU_PERIOD}")
        elif self._kind == "v1":
            memory = self._paths["memory"]
            (memory / "memory.limit_in_bytes").write_text(str(limits.memory_bytes))
            _optional(memory / "memory.memsw.limit_in_bytes", str(limits.memory_bytes))
            (self._paths["pids"] / "pids.max").write_text(str(limits.pids))
            (self._paths["cpu"] / "cpu.cfs_period_us").write_text(str(CPU_PERIOD))
            (self._paths["cpu"] / "cpu.cfs_quota_us").write_text(str(int(limits.cpus * CPU_PERIOD)))

    def out_of_memory(self) -> int:
        """How often the kernel killed something in this group for want of memory."""
        if not self._paths:
            return 0
        folder = self._paths["memory"]
        try:
            text = (folder / ("memory.events" if self._kind == "v2" else "memory.oom_control")).read_text()
        except OSError:
            return 0  # the group has been removed
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))

    def kill(self) -> None:
        """End whatever is in the group."""
        for path in dict.fromkeys(self._paths.values()):
            _kill_all(path)

    def remove(self) -> bool:
        """Remove the group; False while something in it has not gone yet."""
        return all([_rmdir(path) for path in dict.fromkeys(self._paths.values())])  # noqa: C419  each is tried


def clear(hierarchy: Hierarchy, worker: str) -> bool:
    """Kill all that a dead worker left in its groups and remove them; False when something is still going."""
    done = True
    for root in hierarchy.folders:
        folder = root / f"{PREFIX}{worker}"
        groups = [entry for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []
        for group in groups:
            _kill_all(group)
        done = all([*[_rmdir(group) for group in groups], _rmdir(folder)]) and done
    return done


def _kill_all(path: Path) -> None:
    if (path / "cgroup.kill").exists():
        _optional(path / "cgroup.kill", "1")
        return
    try:
        members = (path / "cgroup.procs").read_text().split()
    except OSError:
        return
    for pid in members:
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue


def _rmdir(path: Path) -> bool:
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _optional(path: Path, text: str) -> None:
    """Write where the kernel offers it: without swap accounting these files do not exist."""
    try:
        path.write_text(text)
    except OSError:
        return
