"""Looking for processes of sandboxes from outside: by the command, which must be one that nobody else runs."""

import psutil


async def running(command: str) -> list[int]:
    """Ids of the processes of this machine that run exactly this command."""
    words = command.split()
    return [p.pid for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == words]


def descendants(pid: int, name: str) -> list[psutil.Process]:
    """The processes below `pid` with that program name, outermost first."""
    return [p for p in psutil.Process(pid).children(recursive=True) if p.name() == name]
