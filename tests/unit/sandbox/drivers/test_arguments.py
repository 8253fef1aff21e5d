"""The command line of a sandbox: what is in it, and above all what is not."""

from pathlib import Path

from msgspec.structs import replace

from holdfast.sandbox.drivers.bubblewrap import arguments
from holdfast.sandbox.drivers.bubblewrap.arguments import HostLayout, SandboxSpec
from holdfast.sandbox.drivers.bubblewrap.host import masked

LAYOUT = HostLayout(
    bwrap="/usr/bin/bwrap",
    etc=Path("/data/run/w/etc"),
    agent=Path("/data/run/w/agent"),
    python="/usr/bin/python3",
    python_home=None,
    links=(("/bin", "usr/bin"),),
    trees=(),
    masked=("kcore", "fs/"),
    boot_id=Path("/data/run/w/boot_id"),
    library_cache=("ld.so.cache",),
)
SPEC = SandboxSpec(
    workspace=Path("/data/workspaces/t/s"),
    tmp_bytes=1 << 20,
    file_bytes=1 << 30,
    memory_bytes=1 << 30,
    pids=64,
    weak=False,
    groups=("/sys/fs/cgroup/x y/cgroup.procs",),
)


def pairs(line: list[str], option: str) -> list[tuple[str, str]]:
    return [(line[at + 1], line[at + 2]) for at, word in enumerate(line) if word == option]


def test_every_wall_is_up() -> None:
    line = arguments.isolation(LAYOUT, SPEC, 7, 8)
    for name in ("user", "pid", "ipc", "uts", "net", "cgroup"):
        assert f"--unshare-{name}" in line
    for option in ("--disable-userns", "--die-with-parent", "--new-session", "--clearenv"):
        assert option in line
    assert line[line.index("--cap-drop") + 1] == "ALL"
    assert line[line.index("--seccomp") + 1] == "7"
    assert line[line.index("--uid") + 1] == line[line.index("--gid") + 1] == "1000"


def test_nothing_but_the_workspace_is_bound_writable() -> None:
    line = arguments.isolation(LAYOUT, SPEC, 7, 8)
    assert pairs(line, "--bind") == [("/data/workspaces/t/s", "/workspace")]
    assert {source for source, _ in pairs(line, "--ro-bind")} == {
        "/usr", "/data/run/w/etc", "/etc/ld.so.cache", "/data/run/w/agent", "/proc/sys", "/dev/null",
        "/data/run/w/boot_id",
    }  # fmt: skip
    assert ("/proc/sys", "/proc/sys") in pairs(line, "--ro-bind")
    assert line[-4:-1] != []
    assert line.count("--remount-ro") == 3
    assert "--dev-bind" not in line
    assert "--share-net" not in line


def test_what_proc_tells_of_the_host_is_covered_whatever_a_kernel_adds(tmp_path: Path) -> None:
    for name in ("1", "self", "meminfo", "slabinfo", "something-new", "sys/kernel/core_pattern", "sys/vm/swappiness"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "bus" / "pci").mkdir(parents=True)
    (tmp_path / "mounts").symlink_to("self/mounts")
    (tmp_path / "slabinfo").chmod(0o400)
    assert masked(tmp_path, root=True) == ("bus/", "slabinfo", "something-new", "sys/kernel/core_pattern")
    assert masked(tmp_path, root=False) == ("bus/", "something-new", "sys/kernel/core_pattern")


def test_an_interpreter_of_a_home_is_bound_under_a_name_that_tells_nothing() -> None:
    home = Path("/home/somebody/.pyenv/versions/3.12")
    layout = HostLayout(
        **{name: getattr(LAYOUT, name) for name in LAYOUT.__struct_fields__ if name not in ("python", "python_home")},
        python="/opt/python/bin/python3.12",
        python_home=home,
    )
    line = arguments.isolation(layout, SPEC, 7, 8)
    assert (str(home), "/opt/python") in pairs(line, "--ro-bind")
    assert ("PATH", "/opt/python/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") in pairs(
        line, "--setenv"
    )
    assert [word for word in line if "somebody" in word] == [str(home)]


def test_the_limits_come_before_bubblewrap() -> None:
    line = arguments.command(LAYOUT, SPEC, 7, 8)
    assert line[:2] == ["/bin/sh", "-c"]
    assert "'/sys/fs/cgroup/x y/cgroup.procs'" in line[2]
    assert "ulimit -n 512" in line[2]
    assert "ulimit -d" not in line[2]
    assert "RLIMIT_NPROC" not in line[-1]
    weak = SandboxSpec(**{name: getattr(SPEC, name) for name in SPEC.__struct_fields__ if name != "weak"}, weak=True)
    line = arguments.command(LAYOUT, weak, 7, 8)
    assert "ulimit -d 1048576" in line[2]
    assert "min(64, hard)" in line[-1]


def test_the_environment_is_fixed() -> None:
    assert set(arguments.environment(LAYOUT)) == {
        "PATH",
        "HOME",
        "LANG",
        "USER",
        "SHELL",
        "TERM",
        "TMPDIR",
        "PYTHONUNBUFFERED",
    }


def test_a_sandbox_with_a_network_has_the_socket_of_the_proxy_and_no_other_network() -> None:
    layout = replace(LAYOUT, certificates="/etc/ssl/cert.pem")
    line = arguments.isolation(layout, replace(SPEC, egress=Path("/data/run/w/egress/sbx_1")), 7, 8)
    assert "--unshare-net" in line
    assert ("/data/run/w/egress/sbx_1", "/run/egress") in pairs(line, "--ro-bind")
    variables = dict(pairs(line, "--setenv"))
    assert variables["https_proxy"] == variables["HTTP_PROXY"] == "http://127.0.0.1:3128"
    assert variables["SSL_CERT_FILE"] == "/etc/ssl/cert.pem"
    without = arguments.isolation(layout, SPEC, 7, 8)
    assert not [word for word in without if "proxy" in word.lower() or "egress" in word or "SSL_CERT" in word]
