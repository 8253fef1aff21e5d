"""The configuration of a container: what isolates and limits it is there, whatever the settings."""

from pathlib import Path

from msgspec.structs import replace

from holdfast.sandbox.drivers.bubblewrap import seccomp
from holdfast.sandbox.drivers.docker import config
from holdfast.sandbox.settings import MIB

LAYOUT = config.Layout(
    image="sha256:1", runtime="runc", uid=1000, gid=1000, agent=Path("/d/agent"), etc=Path("/d/etc"),
    masked=("/proc/vmallocinfo",), seccomp=seccomp.text(), processors=(0, 2, 3, 5),
)  # fmt: skip

SPEC = config.Spec(
    workspace=Path("/d/w"), labels={}, memory_bytes=1, pids=1, cpus=1.0, tmp_bytes=1, file_bytes=1, turn=0
)


def made(**settings: object) -> dict[str, object]:
    """The `HostConfig` of a container with these settings."""
    return config.container(LAYOUT, replace(SPEC, **settings))["HostConfig"]


def test_everything_that_isolates_is_asked_for() -> None:
    host = made()
    assert host["NetworkMode"] == "none"
    assert host["CapDrop"] == ["ALL"]
    assert host["ReadonlyRootfs"] is True
    assert host["Privileged"] is False
    assert host["SecurityOpt"] == ["no-new-privileges", f"seccomp={seccomp.text()}"]
    assert {"/sys", "/proc/kcore", "/proc/vmallocinfo"} <= set(host["MaskedPaths"])  # type: ignore[call-overload]
    assert "Devices" not in host
    assert "Binds" not in host


def test_the_only_mount_that_can_be_written_is_the_workspace() -> None:
    mounts = made()["Mounts"]
    assert isinstance(mounts, list)
    assert [mount["Target"] for mount in mounts if not mount["ReadOnly"]] == ["/workspace"]
    assert not [mount for mount in mounts if "docker.sock" in mount["Source"]]


def test_a_sandbox_with_a_network_has_the_socket_of_the_proxy_and_no_other_network() -> None:
    whole = config.container(LAYOUT, replace(SPEC, egress=Path("/d/egress/sbx_1")))
    assert whole["HostConfig"]["NetworkMode"] == "none"
    (socket,) = [mount for mount in whole["HostConfig"]["Mounts"] if mount["Target"] == "/run/egress"]
    assert (socket["Source"], socket["ReadOnly"]) == ("/d/egress/sbx_1", True)
    assert "https_proxy=http://127.0.0.1:3128" in whole["Entrypoint"]
    assert not [word for word in config.container(LAYOUT, SPEC)["Entrypoint"] if "proxy" in word.lower()]


def test_all_limits_are_set() -> None:
    host = made(memory_bytes=300 * MIB, pids=50, cpus=1.5, tmp_bytes=2 * MIB, file_bytes=7 * MIB)
    assert (host["Memory"], host["MemorySwap"]) == (300 * MIB, 300 * MIB)
    assert host["PidsLimit"] == 50
    assert host["CpuQuota"] == 150_000
    assert host["CpuPeriod"] == 100_000
    assert host["ShmSize"] == 2 * MIB
    assert f"size={2 * MIB}" in host["Tmpfs"]["/tmp"]  # type: ignore[index]
    assert host["Ulimits"] == [
        {"Name": name, "Soft": value, "Hard": value}
        for name, value in {"nofile": 512, "core": 0, "fsize": 7 * MIB}.items()
    ]


def test_processors_are_shared_out_in_turn() -> None:
    assert [config.cpuset((0, 2, 3, 5), 1.0, turn) for turn in range(5)] == ["0", "2", "3", "5", "0"]
    assert [config.cpuset((0, 2, 3, 5), 1.5, turn) for turn in range(3)] == ["0,2", "3,5", "0,2"]
    assert [config.cpuset((0, 2, 3), 1.5, turn) for turn in range(3)] == ["0,2", "3,0", "2,3"]
    assert config.cpuset((0, 2), 2.0, 0) == ""
    assert config.cpuset((0, 2), 8.0, 7) == ""


def test_the_user_of_the_files_is_that_of_the_processes() -> None:
    files = config.etc(4711, 4712)
    assert "agent:x:4711:4712:agent:/workspace/.holdfast/home:/bin/bash" in files["passwd"]
    assert "agent:x:4712:" in files["group"]
    assert files["resolv.conf"] == ""
    assert set(files) == set(config.OWN_ETC)


def test_nothing_of_the_image_and_no_variable_but_ours_gets_through() -> None:
    body = config.container(LAYOUT, SPEC)
    assert body["Entrypoint"][:2] == ["/usr/bin/env", "-i"]
    assert body["Healthcheck"] == {"Test": ["NONE"]}
    assert body["User"] == "1000:1000"
