"""The exact command line of a bubblewrap sandbox: what exists inside, and nothing else does.

With bubblewrap the outside user is the service's own, so this list of mounts is the whole defence of the file system:
parts of /usr, the interpreter if it lies elsewhere, the agent, a generated /etc, and the session's workspace.
"""

import shlex
from pathlib import Path
from typing import Final

import msgspec

WORKSPACE: Final = "/workspace"
HOME: Final = "/workspace/.holdfast/home"
"""Kept with the files; the agent makes it, and an ignore file beside it keeps it out of the user's repositories."""

AGENT: Final = "/run/holdfast"
"""Folder in which the package of the agent lies."""

START: Final = f"import sys; sys.path.insert(0, {AGENT!r}); from agent.main import main; main()"
"""What the interpreter runs. The path is set by hand: an isolated interpreter looks nowhere by itself."""
PYTHON: Final = "/opt/python"
"""Where the interpreter is bound when the host has none below /usr; says nothing of where it lies outside."""

USER: Final = 1000

OPEN_FILES: Final = 512

MASKED: Final = (
    "acpi", "asound", "kcore", "keys", "latency_stats", "timer_list", "sched_debug", "scsi", "kallsyms",
    "kpagecount", "kpageflags", "kmsg", "bootconfig", "sysrq-trigger", "vmallocinfo", "driver", "fs", "irq", "bus",
    "config.gz", "cmdline", "pressure", "mtrr", "devices", "iomem", "ioports", "interrupts", "modules",
)  # fmt: skip
"""Entries of /proc that tell about the host or act on it; each that exists is covered."""

ETC: Final = {
    "passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\nagent:x:{USER}:{USER}:agent:{HOME}:/bin/bash\n"
    "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "group": f"root:x:0:\nagent:x:{USER}:\nnogroup:x:65534:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "hostname": "sandbox\n",
    "host.conf": "multi on\n",
    "os-release": 'NAME="Holdfast sandbox"\nID=linux\n',
    "shells": "/bin/sh\n/bin/bash\n",
}
"""The whole of /etc: written by us, identical in every sandbox."""

LIBRARY_CACHE: Final = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives")
"""What the dynamic linker and Debian's command names need of the host's /etc: paths below /usr, no settings."""


class HostLayout(msgspec.Struct, frozen=True):
    """What of this host a sandbox is made from: the same for every sandbox."""

    bwrap: str
    etc: Path
    """The generated /etc."""
    agent: Path
    """Folder that holds the package of the agent."""
    python: str
    """Interpreter as seen from inside."""
    python_home: Path | None
    """Where the interpreter lies outside when that is not below /usr."""
    links: tuple[tuple[str, str], ...]
    """Top-level links such as `/lib` to `usr/lib`."""
    trees: tuple[str, ...]
    """Top-level folders with libraries that are no links, on hosts that did not merge them into /usr."""
    masked: tuple[str, ...]
    """Which entries of MASKED this kernel has; a final slash marks a folder."""
    library_cache: tuple[str, ...]


class SandboxSpec(msgspec.Struct, frozen=True):
    """What differs from sandbox to sandbox."""

    workspace: Path
    tmp_bytes: int
    file_bytes: int
    memory_bytes: int
    pids: int
    """RLIMIT_NPROC; used if `weak`."""
    weak: bool
    groups: tuple[str, ...]
    """Files of control groups into which the process enters its id."""


def environment(place: HostLayout) -> dict[str, str]:
    """All of the environment inside."""
    first = f"{PYTHON}/bin:" if place.python_home else ""
    return {
        "PATH": f"{first}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": HOME,
        "LANG": "C.UTF-8",
        "USER": "agent",
        "SHELL": "/bin/bash",
        "TERM": "dumb",
        "TMPDIR": "/tmp",  # noqa: S108  a private one
        "PYTHONUNBUFFERED": "1",  # what a program prints is seen while it runs, and when it is stopped
    }


def isolation(place: HostLayout, shape: SandboxSpec, seccomp: int, info: int) -> list[str]:
    """The bubblewrap command line up to and with the agent.

    `seccomp` is the descriptor that holds the filter, `info` the one on which bubblewrap tells the process id.
    """
    arguments = [
        place.bwrap,
        "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup",
        "--disable-userns", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
        "--uid", str(USER), "--gid", str(USER), "--hostname", "sandbox", "--seccomp", str(seccomp),
        "--info-fd", str(info),
        "--ro-bind", "/usr", "/usr",
    ]  # fmt: skip
    for link, target in place.links:
        arguments += ["--symlink", target, link]
    for tree in place.trees:
        arguments += ["--ro-bind", tree, tree]
    if place.python_home:
        arguments += ["--ro-bind", str(place.python_home), PYTHON]
    arguments += ["--ro-bind", str(place.etc), "/etc"]
    for name in place.library_cache:
        arguments += ["--ro-bind", f"/etc/{name}", f"/etc/{name}"]
    # bubblewrap covers /proc/sys only where the folder itself is writable, which it never is; its files are, to root.
    arguments += ["--ro-bind", str(place.agent), AGENT, "--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"]
    for name in place.masked:
        if name.endswith("/"):
            arguments += ["--size", "4096", "--tmpfs", f"/proc/{name[:-1]}", "--remount-ro", f"/proc/{name[:-1]}"]
        else:
            arguments += ["--ro-bind", "/dev/null", f"/proc/{name}"]
    size = str(shape.tmp_bytes)
    arguments += [
        "--dev", "/dev", "--size", size, "--tmpfs", "/dev/shm", "--remount-ro", "/dev",  # noqa: S108
        "--size", size, "--tmpfs", "/tmp", "--bind", str(shape.workspace), WORKSPACE,  # noqa: S108
        "--remount-ro", "/", "--chdir", WORKSPACE,
    ]  # fmt: skip
    for name, value in environment(place).items():
        arguments += ["--setenv", name, value]
    # Inside, and not before bubblewrap: only there processes of the user outside of the sandbox do not count.
    start = limit_processes(shape.pids) + START if shape.weak else START
    return [*arguments, "--", place.python, "-I", "-S", "-B", "-c", start]


def limit_processes(pids: int) -> str:
    """Python that sets RLIMIT_NPROC to `pids`, or to the hard limit of the user if that is lower."""
    return (
        "import resource as r; hard = r.getrlimit(r.RLIMIT_NPROC)[1]; "
        f"most = {pids} if hard == r.RLIM_INFINITY else min({pids}, hard); r.setrlimit(r.RLIMIT_NPROC, (most, most)); "
    )


def ulimit(letter: str, value: int) -> str:
    """The shell command that sets a limit; it also succeeds if the hard limit of the user is lower already."""
    return f'{{ ulimit -{letter} {value} 2>/dev/null || [ "$(ulimit -H{letter})" -le {value} ]; }}'


def command(place: HostLayout, shape: SandboxSpec, seccomp: int, info: int) -> list[str]:
    """The whole command line: a shell that limits itself, then becomes bubblewrap.

    Set in the process itself, before it becomes bubblewrap, so that nothing ever runs without the limits. `ulimit -f`
    counts in 512 bytes, `-d` in kilobytes. It exits with 97 when a limit cannot be set. The shell's own variables, such
    as the folder it was started in, are dropped: the environment of bubblewrap itself can be read inside.

    Memory without a control group is RLIMIT_DATA, and not RLIMIT_AS: node, Java and Go reserve many gigabytes of
    addresses that they never use, and do not start under a limit of addresses.
    """
    steps = [f"echo $$ > {shlex.quote(entry)}" for entry in shape.groups]
    steps += [ulimit("n", OPEN_FILES), ulimit("c", 0), ulimit("f", max(shape.file_bytes // 512, 1))]
    if shape.weak:
        steps.append(ulimit("d", shape.memory_bytes // 1024))
    script = " && ".join(steps) + ' || exit 97; exec /usr/bin/env -i "$@"'
    return ["/bin/sh", "-c", script, "sandbox", *isolation(place, shape, seccomp, info)]
