"""Which control groups are found, from the texts of hosts of several kinds and folders of ours."""

import os
from pathlib import Path

import pytest

from holdfast.sandbox.drivers.bubblewrap import diagnosis, limits
from holdfast.sandbox.drivers.bubblewrap.diagnosis import Host
from holdfast.sandbox.drivers.bubblewrap.limits import Group, Limits

LIMITS = Limits(memory_bytes=1 << 28, pids=64, cpus=1.5)


def mount(point: Path, kind: str, options: str = "rw", root: str = "/") -> str:
    return f"30 20 0:26 {root} {point} rw,nosuid shared:9 - {kind} {kind} {options}\n"


def folder(path: Path, **files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


def test_a_delegated_group_of_the_unified_hierarchy(tmp_path: Path) -> None:
    own = folder(
        tmp_path / "user.slice" / "run-1.scope",
        cgroup__controllers="cpu memory pids", cgroup__subtree_control="cpu memory pids",
    )  # fmt: skip
    found = limits.find(mounts=mount(tmp_path, "cgroup2"), membership="0::/user.slice/run-1.scope\n")
    assert found.kind == "v2"
    assert found.folders == (own,)
    folder(own / "holdfast-wrk_1")
    group = Group(found, "wrk_1", "sbx_1")
    group.make(LIMITS)
    made = own / "holdfast-wrk_1" / "sbx_1"
    assert (made / "memory.max").read_text() == str(1 << 28)
    assert (made / "pids.max").read_text() == "64"
    assert (made / "cpu.max").read_text() == "150000 100000"
    assert group.entries == (f"{made}/cgroup.procs",)
    assert (own / "holdfast-wrk_1" / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"


def test_a_group_shared_with_others_is_left_alone(tmp_path: Path) -> None:
    own = folder(
        tmp_path / "session",
        cgroup__controllers="cpu memory pids", cgroup__subtree_control="", cgroup__type="domain",
        cgroup__procs="1\n",
    )  # fmt: skip
    found = limits.find(mounts=mount(tmp_path, "cgroup2"), membership="0::/session\n")
    assert found.kind == "weak"
    assert "cannot be divided (other processes are in it)" in found.cause
    assert (own / "cgroup.subtree_control").read_text() == ""
    assert not (own / limits.LEAF).exists()


def test_a_group_that_holds_only_ours_is_emptied_into_a_leaf(tmp_path: Path) -> None:
    own = folder(
        tmp_path / "run-1.scope", cgroup__controllers="cpu memory pids", cgroup__subtree_control="",
        cgroup__type="domain", cgroup__procs=f"{os.getpid()}\n",
    )  # fmt: skip
    found = limits.find(mounts=mount(tmp_path, "cgroup2"), membership="0::/run-1.scope\n")
    assert found.kind == "v2"
    assert (own / limits.LEAF / "cgroup.procs").read_text() == str(os.getpid())
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"


def test_controllers_that_are_not_offered_are_named(tmp_path: Path) -> None:
    folder(tmp_path / "s", cgroup__controllers="pids", cgroup__subtree_control="")
    found = limits.find(mounts=mount(tmp_path, "cgroup2"), membership="0::/s\n")
    assert found.kind == "weak"
    assert "does not offer memory" in found.cause


def test_a_group_without_the_processor_is_used_and_that_is_told(tmp_path: Path) -> None:
    """What systemd delegates to a user in older distributions."""
    own = folder(tmp_path / "s", cgroup__controllers="memory pids", cgroup__subtree_control="memory pids")
    found = limits.find(mounts=mount(tmp_path, "cgroup2"), membership="0::/s\n")
    assert found.kind == "v2"
    assert "processor time is not limited" in limits.weakness(found, root=False)
    folder(own / "holdfast-wrk_1")
    Group(found, "wrk_1", "sbx_1").make(LIMITS)
    assert (own / "holdfast-wrk_1" / "cgroup.subtree_control").read_text() == "+memory +pids"
    assert (own / "holdfast-wrk_1" / "sbx_1" / "pids.max").read_text() == "64"
    assert not (own / "holdfast-wrk_1" / "sbx_1" / "cpu.max").exists()


def test_separate_hierarchies_with_own_paths(tmp_path: Path) -> None:
    for name in ("memory", "pids", "cpu"):
        folder(tmp_path / name / "own" if name == "memory" else tmp_path / name)
    mounts = "".join(mount(tmp_path / name, "cgroup", f"rw,{name}") for name in ("memory", "pids", "cpu"))
    found = limits.find(mounts=mounts, membership="4:memory:/own\n8:pids:/\n1:cpu:/\n0::/\n")
    assert found.kind == "v1"
    assert found.roots["memory"] == tmp_path / "memory" / "own"
    group = Group(found, "wrk_1", "sbx_1")
    group.make(LIMITS)
    assert (tmp_path / "memory/own/holdfast-wrk_1/sbx_1/memory.limit_in_bytes").read_text() == str(1 << 28)
    assert (tmp_path / "cpu/holdfast-wrk_1/sbx_1/cpu.cfs_quota_us").read_text() == "150000"
    assert len(group.entries) == 3


def test_a_container_sees_its_own_root(tmp_path: Path) -> None:
    """In a container the mount shows a subtree; the path in /proc/self/cgroup may be that of the host."""
    folder(tmp_path, cgroup__controllers="cpu memory pids", cgroup__subtree_control="cpu memory pids")
    found = limits.find(mounts=mount(tmp_path, "cgroup2", root="/docker/abc"), membership="0::/docker/abc\n")
    assert found.folders == (tmp_path,)


def test_a_second_look_finds_the_same_group(tmp_path: Path) -> None:
    """The first look has moved the service into a group below; its children are there too."""
    own = folder(
        tmp_path / "run-1.scope", cgroup__controllers="cpu memory pids", cgroup__subtree_control="cpu memory pids",
        cgroup__type="domain", cgroup__procs="",
    )  # fmt: skip
    folder(own / limits.LEAF, cgroup__controllers="cpu memory pids", cgroup__subtree_control="", cgroup__procs="1\n2\n")
    found = limits.find(mounts=mount(tmp_path, "cgroup2"), membership=f"0::/run-1.scope/{limits.LEAF}\n")
    assert found.kind == "v2"
    assert found.folders == (own,)


def test_weak_limits_are_told_in_half_a_sentence() -> None:
    weak = limits.Hierarchy("weak", {}, "a long cause")
    assert limits.weakness(weak, root=False) == (
        "each process alone, not the whole sandbox (no control group can be written)"
    )
    assert "number of processes is not limited" in limits.weakness(weak, root=True)
    assert limits.weakness(limits.Hierarchy("v1", dict.fromkeys(limits.NEEDED, Path("/x"))), root=True) == ""


@pytest.mark.parametrize(
    ("kernel", "alone"),
    [("5.10.0-30-amd64", False), ("4.18.0-553.el8", False), ("5.14.0-503.el9", True), ("6.8.0-45-generic", True)],
)
def test_older_kernels_count_all_processes_of_the_user(kernel: str, alone: bool) -> None:
    assert limits.counts_alone(kernel) is alone


def test_the_threads_of_this_user_are_counted() -> None:
    assert limits.threads_of_user() >= 1


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (Host(switches={"max_user_namespaces": "0"}), ["max_user_namespaces = 0", "sudo sysctl -w user.max_user"]),
        (Host(switches={"unprivileged_userns_clone": "0"}), ["unprivileged_userns_clone = 0", "sudo sysctl -w kernel"]),
        (Host(switches={"apparmor_restrict_unprivileged_userns": "1"}), ["AppArmor", "sudo sysctl -w kernel.apparmor"]),
        (Host(contained=True), ["this container", "docker run --security-opt"]),
        (Host(), ["No sandbox can be made: bwrap: No permissions to create new namespace."]),
    ],
)
def test_a_failure_names_its_cause_and_the_ways_out(host: Host, words: list[str]) -> None:
    said = str(diagnosis.explain(host, "bwrap: No permissions to create new namespace"))
    for word in words:
        assert word in said
    assert "README" not in said


@pytest.mark.parametrize(
    ("host", "words"), [(Host(platform="darwin"), "need Linux"), (Host(machine="riscv64"), "x86_64, aarch64")]
)
def test_a_machine_on_which_there_is_no_sandbox_is_named(host: Host, words: str) -> None:
    found = diagnosis.wrong_machine(host)
    assert found is not None
    assert words in str(found)
    assert diagnosis.wrong_machine(Host()) is None


def test_weak_limits_name_systemd_only_where_it_runs() -> None:
    accept = "HOLDFAST_ALLOW_WEAK_LIMITS=true holdfast up"
    user, root, neither = (
        [remedy.command for remedy in diagnosis.weak_limits(host).remedies]
        for host in (Host(systemd=True), Host(systemd=True, root=True), Host())
    )
    assert user == ["systemd-run --user --scope -p Delegate=yes holdfast up", accept]
    assert root == ["systemd-run --scope -p Delegate=yes holdfast up", accept]
    assert neither == [accept]
