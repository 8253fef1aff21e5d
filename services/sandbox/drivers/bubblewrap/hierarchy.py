"""Finds the control-group hierarchy in which this process may make groups.

Three kinds, tried in this order: the unified hierarchy (v2) in a subtree that is ours, the older separate hierarchies
(v1), which only root can write, and none ("weak"): then limits hold for each process alone, by rlimits.
"""

import contextlib
import errno
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from holdfast.sandbox.drivers.bubblewrap import process_tree

PREFIX: Final = "holdfast-"
"""Beginning of the names of our groups, before the worker's id: another worker removes those of a dead one."""

SERVICE_GROUP: Final = f"{PREFIX}service"
"""Name of the group into which the service moves itself: a group that has processes cannot pass controllers down."""

MOVE_ATTEMPTS: Final = 10
"""Attempts to move all processes out of a group while they start others."""

CONTROLLERS: Final = ("memory", "pids", "cpu")
"""Controllers that limit a sandbox."""

ACCOUNTING: Final = "cpuacct"
"""The controller of the older hierarchies that counts processor time; it may be missing. Unified groups always count.
"""

OPTIONAL_CONTROLLERS: Final = ("cpu",)
"""Controllers without which a subtree of the unified hierarchy is used all the same. systemd delegates to users what
`user@.service` says: in older distributions memory and pids only."""


class Hierarchy(msgspec.Struct, frozen=True):
    """Where groups are made: `roots` maps each controller that is available to the folder that holds our groups."""

    kind: Literal["v2", "v1", "weak"]
    roots: dict[str, Path]
    cause: str = ""
    """Why it is weak."""

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of `roots`, each once."""
        return tuple(dict.fromkeys(self.roots.values()))


def find(*, mounts: str | None = None, membership: str | None = None) -> Hierarchy:
    """The best hierarchy that this process may write. `mounts` and `membership` default to the files of /proc/self."""
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


def of_process(pid: int) -> Hierarchy:
    """The groups in which the process `pid` is, made by somebody else: the roots are the groups themselves.

    Weak where they cannot be found, as in a container that sees its own groups only. Raises OSError if it has ended.
    """
    points = _mount_points(Path("/proc/self/mountinfo").read_text())
    own = _memberships(Path(f"/proc/{pid}/cgroup").read_text())
    separate = [name for name in (*CONTROLLERS, ACCOUNTING) if name in points and name in own]
    if set(CONTROLLERS) <= set(separate):
        found = Hierarchy("v1", {name: _folder_of(points[name], own[name]) for name in separate})
    elif "unified" in points and "unified" in own:
        folder = _folder_of(points["unified"], own["unified"])
        offered = (folder / "cgroup.controllers").read_text().split() if folder.is_dir() else []
        found = Hierarchy("v2", {name: folder for name in CONTROLLERS if name in offered})
    else:
        found = Hierarchy("weak", {})
    missing = [str(folder) for folder in found.folders if not folder.is_dir()]
    return Hierarchy("weak", {}, f"{missing[0]} is not to be seen") if missing or not found.roots else found


def _mount_points(mountinfo: str) -> dict[str, tuple[Path, str]]:
    """Controller (or `unified`) to its mount point and the folder of the hierarchy that is mounted there."""
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
                if option in (*CONTROLLERS, ACCOUNTING):
                    points[option] = (Path(fields[4]), fields[3])
    return points


def _memberships(text: str) -> dict[str, str]:
    """Controller (or `unified`) to the path of this process's own group, from /proc/self/cgroup."""
    own: dict[str, str] = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for name in controllers.split(",") if controllers else ["unified"]:
            own[name] = path
    return own


def _folder_of(point: tuple[Path, str], path: str) -> Path:
    """The folder of the group `path`. In a container only the subtree `root` of the hierarchy is mounted."""
    mount, root = point
    inside = path[len(root) :] if root != "/" and path.startswith(root) else path
    return mount / inside.lstrip("/")


def _unified(points: Mapping[str, tuple[Path, str]], own: Mapping[str, str]) -> Hierarchy | str:
    """The unified hierarchy, or why it cannot be used."""
    if "unified" not in points or "unified" not in own:
        return "no unified control groups"
    folder = _folder_of(points["unified"], own["unified"])
    if folder.name == SERVICE_GROUP:  # an earlier call has moved this process there
        folder = folder.parent
    try:
        offered = (folder / "cgroup.controllers").read_text().split()
        missing = [name for name in CONTROLLERS if name not in offered and name not in OPTIONAL_CONTROLLERS]
        if missing:
            return f"control group {folder} does not offer {', '.join(missing)}"
        names = [name for name in CONTROLLERS if name in offered]
        _enable(folder, names)
    except OSError as exc:
        return f"control group {folder} cannot be divided ({exc.strerror})"
    return Hierarchy("v2", dict.fromkeys(names, folder))


def _enable(folder: Path, names: Sequence[str]) -> None:
    """Pass the controllers down to the groups below `folder`. Raises OSError.

    The kernel refuses that for a group that has processes, so they move into SERVICE_GROUP below it first: this
    process, and `holdfast up` with its descendants if that was started in the group. If other processes are in the
    group it is left alone.
    """
    if set(names) <= set((folder / "cgroup.subtree_control").read_text().split()):
        return
    if not (folder / "cgroup.type").exists():  # the root group has no such file, and may have processes
        (folder / "cgroup.subtree_control").write_text(enabled(names))
        return
    for _ in range(MOVE_ATTEMPTS):
        members = (folder / "cgroup.procs").read_text().split()
        if not process_tree.holds_only_ours(int(pid) for pid in members):
            break
        service_group = folder / SERVICE_GROUP
        service_group.mkdir(exist_ok=True)
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                (service_group / "cgroup.procs").write_text(pid)
        try:
            (folder / "cgroup.subtree_control").write_text(enabled(names))
        except OSError as exc:
            if exc.errno != errno.EBUSY:  # EBUSY: a process has started another meanwhile
                raise
        else:
            return
    raise OSError(errno.EBUSY, "other processes are in it")


def enabled(names: Iterable[str]) -> str:
    """The text that enables these controllers when it is written to `cgroup.subtree_control`."""
    return " ".join(f"+{name}" for name in names)


def _separate(points: Mapping[str, tuple[Path, str]], own: Mapping[str, str]) -> Hierarchy | str:
    """The separate hierarchies, or why they cannot be used."""
    if any(name not in points or name not in own for name in CONTROLLERS):
        return "no separate control groups"
    roots: dict[str, Path] = {}
    for name in (*CONTROLLERS, ACCOUNTING):
        if name not in points or name not in own:
            continue
        root = _folder_of(points[name], own[name])
        trial = root / f"{PREFIX}trial-{secrets.token_hex(8)}"  # several processes may try at the same time
        try:
            trial.mkdir()
            trial.rmdir()
        except OSError as exc:
            if name == ACCOUNTING:
                continue
            return f"control group {root} cannot be written ({exc.strerror})"
        roots[name] = root
    return Hierarchy("v1", roots)
