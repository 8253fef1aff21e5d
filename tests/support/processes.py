"""Find processes of sandboxes on the host by their command, which must be unique on this machine."""

import psutil


async def running(command: str) -> list[int]:
    """Ids of the processes on this machine with exactly this command line."""
    words = command.split()
    return [p.pid for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == words]


def descendants(pid: int, name: str) -> list[psutil.Process]:
    """The processes below `pid` with that program name, outermost first."""
    return [p for p in psutil.Process(pid).children(recursive=True) if p.name() == name]
