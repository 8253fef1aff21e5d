"""Facts about a process from /proc: whether it lives, its parent, its memory."""

from pathlib import Path

_DEAD = ("Z", "X")


def started(pid: int) -> int:
    """When a process began, in clock ticks since boot; 0 when there is none of that number or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces
    return 0 if fields[0] in _DEAD else int(fields[19])


def parent(pid: int) -> int:
    """Process id of the parent; 0 when there is no such process."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def memory(pid: int) -> int | None:
    """Resident bytes of a process; None when it has none or is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    size = next((line.split()[1] for line in lines if line.startswith("VmRSS:")), "")
    return int(size) * 1024 if size else None
