"""The control group of one sandbox: made with its limits, killed, removed."""

import contextlib
import errno
import os
import signal
from pathlib import Path
from typing import Final

from holdfast.sandbox.drivers.bubblewrap.hierarchy import ACCOUNTING, PREFIX, Hierarchy, enabled
from holdfast.sandbox.drivers.bubblewrap.limits import Limits

CPU_PERIOD_US: Final = 100_000
"""Microseconds over which the kernel counts processor time."""

CPU_WEIGHTS: Final = {"v2": ("cpu.weight", 1, 100), "v1": ("cpu.shares", 2, 1024)}
"""By hierarchy: the file with the share of processor time, what it says of a group that gives way, and of the others.

The least weights that there are. Beside three groups with sixty threads that wake each other, a process that wakes up
waited for 9 ms at most; at a tenth of the weight for 500, at all of it for 4,000.
Not `cpu.idle`: the kernel then takes a processor with such a group for idle and wakes the services there, although
they have to wait for the group of the worker, which is not idle.
"""


def _folder(kind: str, controller: str, root: Path, worker: str, name: str) -> Path:
    """The group of a sandbox. For processor time each has a group beside those of the services and of other sandboxes:
    in a common group of the worker, one that computes would use up the share of all."""
    if kind == "v1" and controller == "cpu":
        return root / f"{PREFIX}{worker}-{name}"
    return root / f"{PREFIX}{worker}" / name


class ControlGroup:
    """The group `name` below that of the worker, in each hierarchy. Without a hierarchy (weak) it does nothing.

    Without a name: the group that the roots of the hierarchy are (`hierarchy.of_process`).
    """

    def __init__(self, hierarchy: Hierarchy, worker: str = "", name: str = "") -> None:
        self._kind = hierarchy.kind
        self._paths = {
            controller: _folder(hierarchy.kind, controller, root, worker, name) if name else root
            for controller, root in hierarchy.roots.items()
        }

    @property
    def _folders(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(self._paths.values()))

    @property
    def entries(self) -> tuple[str, ...]:
        """Files to which a process of one thread writes 0 to enter the group.

        In the older hierarchies not `cgroup.procs`: to move all threads of a process the kernel waits until no process
        of the host forks or exits, and lets none begin to meanwhile. Beside a fork bomb of little weight nobody could
        start a process for 13 s.
        """
        name = "cgroup.procs" if self._kind == "v2" else "tasks"
        return tuple(f"{folder}/{name}" for folder in self._folders)

    def make(self, limits: Limits) -> None:
        """Create the group with its limits. Raises OSError."""
        for folder in self._folders:
            folder.parent.mkdir(exist_ok=True)
            if self._kind == "v2":
                (folder.parent / "cgroup.subtree_control").write_text(enabled(self._paths))
            folder.mkdir()
        if self._kind == "v2":
            self._limit_v2(limits)
        elif self._kind == "v1":
            self._limit_v1(limits)

    def _limit_v2(self, limits: Limits) -> None:
        folder = self._paths["memory"]
        (folder / "memory.max").write_text(str(limits.memory_bytes))
        _write_if_possible(folder / "memory.swap.max", "0")
        (folder / "pids.max").write_text(str(limits.pids))
        if "cpu" in self._paths:
            (folder / "cpu.max").write_text(f"{int(limits.cpus * CPU_PERIOD_US)} {CPU_PERIOD_US}")

    def _limit_v1(self, limits: Limits) -> None:
        memory = self._paths["memory"]
        (memory / "memory.limit_in_bytes").write_text(str(limits.memory_bytes))
        _write_if_possible(memory / "memory.memsw.limit_in_bytes", str(limits.memory_bytes))
        (self._paths["pids"] / "pids.max").write_text(str(limits.pids))
        (self._paths["cpu"] / "cpu.cfs_period_us").write_text(str(CPU_PERIOD_US))
        (self._paths["cpu"] / "cpu.cfs_quota_us").write_text(str(int(limits.cpus * CPU_PERIOD_US)))

    def cpu_seconds(self) -> float:
        """Processor time that the processes of the group have used so far. Raises OSError, also where nobody counts."""
        if ACCOUNTING in self._paths:
            return int((self._paths[ACCOUNTING] / "cpuacct.usage").read_text()) / 1e9
        if self._kind == "v2":
            for line in (self._paths["memory"] / "cpu.stat").read_text().splitlines():
                if line.startswith("usage_usec "):
                    return int(line.split()[1]) / 1e6
        raise OSError(errno.ENODATA, "nobody counts processor time")

    def refused_forks(self) -> int:
        """Forks that the kernel has refused so far because of the limit of processes. Raises OSError, also where nobody
        counts them."""
        if "pids" in self._paths:
            for line in (self._paths["pids"] / "pids.events").read_text().splitlines():
                if line.startswith("max "):
                    return int(line.split()[1])
        raise OSError(errno.ENODATA, "nobody counts refused forks")

    def processes(self) -> int:
        """Processes and threads of the group now. Raises OSError, also where nobody counts them."""
        if "pids" not in self._paths:
            raise OSError(errno.ENODATA, "nobody counts processes")
        return int((self._paths["pids"] / "pids.current").read_text())

    def set_behind(self, *, on: bool) -> None:
        """Whether other groups get nearly all of a processor that both want. Raises OSError, also where that is
        impossible."""
        if "cpu" not in self._paths:
            raise OSError(errno.ENOENT, "processor time is not limited")
        name, behind, ordinary = CPU_WEIGHTS[self._kind]
        (self._paths["cpu"] / name).write_text(str(behind if on else ordinary))

    def oom_kills(self) -> int:
        """Processes of this group that the kernel has killed because it was out of memory."""
        if not self._paths:
            return 0
        folder = self._paths["memory"]
        try:
            text = (folder / ("memory.events" if self._kind == "v2" else "memory.oom_control")).read_text()
        except OSError:
            return 0  # the group has been removed
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))

    def members(self) -> list[int]:
        """The ids of the processes in the group; empty without a hierarchy. Raises OSError."""
        return [int(pid) for folder in self._folders[:1] for pid in (folder / "cgroup.procs").read_text().split()]

    def kill(self) -> None:
        """Send SIGKILL to every process in the group."""
        for folder in self._folders:
            _kill_all(folder)

    def remove(self) -> bool:
        """Remove the group; False while the kernel still counts processes in it."""
        return all([_rmdir(folder) for folder in self._folders])  # noqa: C419  a list: each one is tried


def clear(hierarchy: Hierarchy, worker: str) -> bool:
    """Kill the processes in all groups of `worker` and remove the groups; False while some cannot be removed yet."""
    done = True
    for root in hierarchy.folders:
        folder = root / f"{PREFIX}{worker}"
        groups = list(root.glob(f"{folder.name}-*/"))
        try:
            groups += [entry for entry in folder.iterdir() if entry.is_dir()]
        except FileNotFoundError:  # it never had one here, or another worker of this host has removed it
            if not groups:
                continue
        for group in groups:
            _kill_all(group)
        done = all([*[_rmdir(group) for group in groups], _rmdir(folder)]) and done
    return done


def _kill_all(folder: Path) -> None:
    if (folder / "cgroup.kill").exists():
        _write_if_possible(folder / "cgroup.kill", "1")
        return
    try:
        members = (folder / "cgroup.procs").read_text().split()
    except OSError:
        return
    for pid in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def _rmdir(folder: Path) -> bool:
    """Whether the folder is gone afterwards."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _write_if_possible(path: Path, text: str) -> None:
    """Write a file that not every kernel has: without swap accounting the limits of swap do not exist."""
    try:
        path.write_text(text)
    except OSError:
        return
