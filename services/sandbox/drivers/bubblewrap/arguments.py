"""The command line of a bubblewrap sandbox: the complete list of what exists inside. Pure.

A sandbox has the user id of the service on the host, so this list of mounts is the whole defence of the file system:
/usr read-only, the interpreter if it lies elsewhere, the agent, a generated /etc, and the session's workspace.
"""

import shlex
from pathlib import Path
from typing import Final

import msgspec

WORKSPACE: Final = "/workspace"
HOME: Final = "/workspace/.holdfast/home"
"""The home directory: a part of the workspace, made by the agent. A .gitignore keeps it out of repositories."""

AGENT: Final = "/run/holdfast"
"""Folder that holds the package `agent`."""

START: Final = f"import sys; sys.path.insert(0, {AGENT!r}); from agent.main import main; main()"
"""The program of the interpreter. It sets the path itself: an isolated interpreter (-I) has no path for packages."""

PYTHON: Final = "/opt/python"
"""Where an interpreter from outside /usr is bound: a fixed path, so that it does not tell where it is on the host."""

USER: Final = 1000
"""User and group id inside."""

OPEN_FILES: Final = 512
"""RLIMIT_NOFILE of each process."""

SHOWN: Final = (
    "cgroups", "consoles", "cpuinfo", "crypto", "dma", "execdomains", "filesystems", "loadavg", "meminfo", "misc",
    "mounts", "net", "self", "stat", "sys", "sysvipc", "thread-self", "uptime", "version",
)  # fmt: skip
"""Entries of /proc, beside the processes, that programs need or that say nothing of the host. Every other one is
mounted over, whatever a kernel adds. Each costs a millisecond at the start of a sandbox."""

MASKED_SYS: Final = ("sys/kernel/core_pattern",)
"""Entries of /proc/sys that tell of the host."""

BOOT_ID: Final = "00000000-0000-4000-8000-000000000000\n"
"""What /proc/sys/kernel/random/boot_id says in every sandbox. That of the host is the same in all of its sandboxes."""

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
"""The files of /etc, identical in every sandbox."""

EGRESS: Final = "/run/egress"
"""Folder with the socket of the egress proxy, in a sandbox that has a network."""

PROXY: Final = "http://127.0.0.1:3128"
"""Where the agent forwards to that socket."""

CERTIFICATES: Final = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)  # fmt: skip
"""Where hosts have the certificates of public authorities: the first that exists is copied to the same path inside. Not
the folder around it: it may hold certificates that name the host."""

LIBRARY_CACHE: Final = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives")
"""Entries of the host's /etc that are bound: those of the dynamic linker, and Debian's alternatives: paths in /usr."""


class HostLayout(msgspec.Struct, frozen=True):
    """The parts of this host that a sandbox is made from: the same for every sandbox of a worker."""

    bwrap: str
    """Path of bubblewrap."""
    etc: Path
    """Folder with the generated /etc."""
    agent: Path
    """Folder that holds the package `agent`."""
    python: str
    """Path of the interpreter inside."""
    python_home: Path | None
    """The interpreter's folder on the host if that is not below /usr."""
    links: tuple[tuple[str, str], ...]
    """Top-level links such as `/lib` to `usr/lib`."""
    trees: tuple[str, ...]
    """Top-level folders with libraries, on hosts that have not merged them into /usr."""
    masked: tuple[str, ...]
    """The paths below /proc that are mounted over; a final slash marks a folder."""
    boot_id: Path
    """A file with BOOT_ID."""
    library_cache: tuple[str, ...]
    """The entries of LIBRARY_CACHE that this host has."""
    certificates: str = ""
    """The path of CERTIFICATES that exists inside; empty: none."""


class SandboxSpec(msgspec.Struct, frozen=True):
    """The parameters of one sandbox."""

    workspace: Path
    tmp_bytes: int
    """Size of /tmp and /dev/shm, each."""
    file_bytes: int
    """RLIMIT_FSIZE: the largest file."""
    memory_bytes: int
    """RLIMIT_DATA of each process; used if `weak`."""
    pids: int
    """RLIMIT_NPROC; used if `weak`."""
    weak: bool
    """Whether limits are rlimits, because no control group can be written."""
    groups: tuple[str, ...]
    """The files to which the process writes 0 to enter its control groups."""
    egress: Path | None = None
    """The folder with the socket of the egress proxy; None: no network."""


def proxy_variables(certificates: str) -> dict[str, str]:
    """The variables by which programs find the proxy and the certificates of public authorities.

    Both cases of each name, since programs read one or the other. The last is for Node, which reads none without it.
    """
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), PROXY)
    direct = dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1,::1")
    trusted = {"SSL_CERT_FILE": certificates} if certificates else {}
    return {**proxies, **direct, **trusted, "NODE_USE_ENV_PROXY": "1"}


def environment(layout: HostLayout, *, egress: bool = False) -> dict[str, str]:
    """All environment variables inside."""
    first = f"{PYTHON}/bin:" if layout.python_home else ""
    return {
        "PATH": f"{first}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": HOME,
        "LANG": "C.UTF-8",
        "USER": "agent",
        "SHELL": "/bin/bash",
        "TERM": "dumb",
        "TMPDIR": "/tmp",  # noqa: S108  private to the sandbox
        "PYTHONUNBUFFERED": "1",  # output of a Python program is seen while it runs, and kept when it is stopped
        **(proxy_variables(layout.certificates) if egress else {}),
    }


def isolation(layout: HostLayout, spec: SandboxSpec, seccomp: int, info: int) -> list[str]:
    """The command line of bubblewrap, including that of the agent.

    `seccomp` is the descriptor of the system call filter; bubblewrap writes the id of the first process to `info`.
    """
    arguments = [
        layout.bwrap,
        "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup",
        "--disable-userns", "--as-pid-1", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
        "--uid", str(USER), "--gid", str(USER), "--hostname", "sandbox", "--seccomp", str(seccomp),
        "--info-fd", str(info),
        "--ro-bind", "/usr", "/usr",
    ]  # fmt: skip
    for link, target in layout.links:
        arguments += ["--symlink", target, link]
    for tree in layout.trees:
        arguments += ["--ro-bind", tree, tree]
    if layout.python_home:
        arguments += ["--ro-bind", str(layout.python_home), PYTHON]
    arguments += ["--ro-bind", str(layout.etc), "/etc"]
    for name in layout.library_cache:
        arguments += ["--ro-bind", f"/etc/{name}", f"/etc/{name}"]
    # bubblewrap makes /proc/sys read-only only if that folder is writable. It never is, but to root its files are.
    arguments += ["--ro-bind", str(layout.agent), AGENT, "--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"]
    for name in layout.masked:
        if name.endswith("/"):
            arguments += ["--size", "4096", "--tmpfs", f"/proc/{name[:-1]}", "--remount-ro", f"/proc/{name[:-1]}"]
        else:
            arguments += ["--ro-bind", "/dev/null", f"/proc/{name}"]
    arguments += ["--ro-bind", str(layout.boot_id), "/proc/sys/kernel/random/boot_id"]
    if spec.egress:
        arguments += ["--ro-bind", str(spec.egress), EGRESS]
    size = str(spec.tmp_bytes)
    arguments += [
        "--dev", "/dev", "--size", size, "--tmpfs", "/dev/shm", "--remount-ro", "/dev",  # noqa: S108
        "--size", size, "--tmpfs", "/tmp", "--bind", str(spec.workspace), WORKSPACE,  # noqa: S108
        "--remount-ro", "/", "--chdir", WORKSPACE,
    ]  # fmt: skip
    for name, value in environment(layout, egress=spec.egress is not None).items():
        arguments += ["--setenv", name, value]
    # Set inside and not before bubblewrap: there the processes that the user has outside do not count (Linux 5.14).
    start = limit_processes(spec.pids) + START if spec.weak else START
    return [*arguments, "--", layout.python, "-I", "-S", "-B", "-c", start]


def limit_processes(pids: int) -> str:
    """Python source that sets RLIMIT_NPROC to `pids`, or to the hard limit of the user if that is lower."""
    return (
        "import resource as r; hard = r.getrlimit(r.RLIMIT_NPROC)[1]; "
        f"most = {pids} if hard == r.RLIM_INFINITY else min({pids}, hard); r.setrlimit(r.RLIMIT_NPROC, (most, most)); "
    )


def ulimit(letter: str, value: int) -> str:
    """A shell command that sets a limit. It succeeds too if the hard limit of the user is lower already."""
    return f'{{ ulimit -{letter} {value} 2>/dev/null || [ "$(ulimit -H{letter})" -le {value} ]; }}'


def command(layout: HostLayout, spec: SandboxSpec, seccomp: int, info: int) -> list[str]:
    """The whole command line: a shell that enters the control groups, sets rlimits, and then executes bubblewrap.

    So nothing ever runs without the limits. If one cannot be set, the shell exits with 97. `ulimit -f` counts in 512
    bytes, `-d` in kilobytes. `env -i` drops the variables that the shell itself sets, such as PWD: code inside can read
    the environment of bubblewrap.

    Without a control group memory is limited by RLIMIT_DATA and not by RLIMIT_AS: node, Java and Go reserve many
    gigabytes of addresses that they never use, and do not start under a limit of addresses.
    """
    steps = [f"echo 0 > {shlex.quote(entry)}" for entry in spec.groups]
    steps += [ulimit("n", OPEN_FILES), ulimit("c", 0), ulimit("f", max(spec.file_bytes // 512, 1))]
    if spec.weak:
        steps.append(ulimit("d", spec.memory_bytes // 1024))
    script = " && ".join(steps) + ' || exit 97; exec /usr/bin/env -i "$@"'
    return ["/bin/sh", "-c", script, "sandbox", *isolation(layout, spec, seccomp, info)]
