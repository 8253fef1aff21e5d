"""Which control groups are found and made: from texts of several kinds of hosts, in folders of the test."""

import os
from pathlib import Path

import pytest

from holdfast.sandbox.drivers.bubblewrap import hierarchy, limits
from holdfast.sandbox.drivers.bubblewrap.control_group import ControlGroup
from holdfast.sandbox.drivers.bubblewrap.limits import Limits

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
    found = hierarchy.find(mounts=mount(tmp_path, "cgroup2"), membership="0::/user.slice/run-1.scope\n")
    assert found.kind == "v2"
    assert found.folders == (own,)
    folder(own / "holdfast-wrk_1")
    group = ControlGroup(found, "wrk_1", "sbx_1")
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
    found = hierarchy.find(mounts=mount(tmp_path, "cgroup2"), membership="0::/session\n")
    assert found.kind == "weak"
    assert "cannot be divided (other processes are in it)" in found.cause
    assert (own / "cgroup.subtree_control").read_text() == ""
    assert not (own / hierarchy.SERVICE_GROUP).exists()


def test_a_group_that_holds_only_ours_is_emptied_into_a_leaf(tmp_path: Path) -> None:
    own = folder(
        tmp_path / "run-1.scope", cgroup__controllers="cpu memory pids", cgroup__subtree_control="",
        cgroup__type="domain", cgroup__procs=f"{os.getpid()}\n",
    )  # fmt: skip
    found = hierarchy.find(mounts=mount(tmp_path, "cgroup2"), membership="0::/run-1.scope\n")
    assert found.kind == "v2"
    assert (own / hierarchy.SERVICE_GROUP / "cgroup.procs").read_text() == str(os.getpid())
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"


def test_controllers_that_are_not_offered_are_named(tmp_path: Path) -> None:
    folder(tmp_path / "s", cgroup__controllers="pids", cgroup__subtree_control="")
    found = hierarchy.find(mounts=mount(tmp_path, "cgroup2"), membership="0::/s\n")
    assert found.kind == "weak"
    assert "does not offer memory" in found.cause


def test_a_group_without_the_processor_is_used_and_that_is_told(tmp_path: Path) -> None:
    """What systemd delegates to a user in older distributions."""
    own = folder(tmp_path / "s", cgroup__controllers="memory pids", cgroup__subtree_control="memory pids")
    found = hierarchy.find(mounts=mount(tmp_path, "cgroup2"), membership="0::/s\n")
    assert found.kind == "v2"
    assert "processor time is not limited" in limits.weakness(found, root=False)
    folder(own / "holdfast-wrk_1")
    ControlGroup(found, "wrk_1", "sbx_1").make(LIMITS)
    assert (own / "holdfast-wrk_1" / "cgroup.subtree_control").read_text() == "+memory +pids"
    assert (own / "holdfast-wrk_1" / "sbx_1" / "pids.max").read_text() == "64"
    assert not (own / "holdfast-wrk_1" / "sbx_1" / "cpu.max").exists()
    group = ControlGroup(found, "wrk_1", "sbx_1")
    (own / "holdfast-wrk_1" / "sbx_1" / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    assert group.cpu_seconds() == 2.5, "also where it is not limited"
    with pytest.raises(OSError, match="not limited"):
        group.set_behind(on=True)


def test_separate_hierarchies_with_own_paths(tmp_path: Path) -> None:
    for name in ("memory", "pids", "cpu"):
        folder(tmp_path / name / "own" if name == "memory" else tmp_path / name)
    mounts = "".join(mount(tmp_path / name, "cgroup", f"rw,{name}") for name in ("memory", "pids", "cpu"))
    found = hierarchy.find(mounts=mounts, membership="4:memory:/own\n8:pids:/\n1:cpu:/\n0::/\n")
    assert found.kind == "v1"
    assert found.roots["memory"] == tmp_path / "memory" / "own"
    group = ControlGroup(found, "wrk_1", "sbx_1")
    group.make(LIMITS)
    assert (tmp_path / "memory/own/holdfast-wrk_1/sbx_1/memory.limit_in_bytes").read_text() == str(1 << 28)
    assert (tmp_path / "cpu/holdfast-wrk_1-sbx_1/cpu.cfs_quota_us").read_text() == "150000"
    assert len(group.entries) == 3
    with pytest.raises(FileNotFoundError):
        group.refused_forks()
    (tmp_path / "pids/holdfast-wrk_1/sbx_1/pids.events").write_text("max 17\n")
    assert group.refused_forks() == 17
    (tmp_path / "pids/holdfast-wrk_1/sbx_1/pids.current").write_text("5\n")
    assert group.processes() == 5
    with pytest.raises(OSError, match="nobody counts"):
        group.cpu_seconds()
    group.set_behind(on=True)
    assert (tmp_path / "cpu/holdfast-wrk_1-sbx_1/cpu.shares").read_text() == "2"
    group.set_behind(on=False)
    assert (tmp_path / "cpu/holdfast-wrk_1-sbx_1/cpu.shares").read_text() == "1024"


def test_processor_time_is_counted_by_a_hierarchy_of_its_own(tmp_path: Path) -> None:
    names = ("memory", "pids", "cpu", "cpuacct")
    for name in names:
        folder(tmp_path / name)
    mounts = "".join(mount(tmp_path / name, "cgroup", f"rw,{name}") for name in names)
    found = hierarchy.find(mounts=mounts, membership="4:memory:/\n8:pids:/\n1:cpu:/\n2:cpuacct:/\n0::/\n")
    group = ControlGroup(found, "wrk_1", "sbx_1")
    group.make(LIMITS)
    assert len(group.entries) == 4
    (tmp_path / "cpuacct/holdfast-wrk_1/sbx_1/cpuacct.usage").write_text("1500000000\n")
    assert group.cpu_seconds() == 1.5


def test_a_container_sees_its_own_root(tmp_path: Path) -> None:
    """In a container the mount shows a subtree; the path in /proc/self/cgroup may be that of the host."""
    folder(tmp_path, cgroup__controllers="cpu memory pids", cgroup__subtree_control="cpu memory pids")
    found = hierarchy.find(mounts=mount(tmp_path, "cgroup2", root="/docker/abc"), membership="0::/docker/abc\n")
    assert found.folders == (tmp_path,)


def test_a_second_look_finds_the_same_group(tmp_path: Path) -> None:
    """The first look has moved the service into a group below; its children are there too."""
    own = folder(
        tmp_path / "run-1.scope", cgroup__controllers="cpu memory pids", cgroup__subtree_control="cpu memory pids",
        cgroup__type="domain", cgroup__procs="",
    )  # fmt: skip
    folder(
        own / hierarchy.SERVICE_GROUP,
        cgroup__controllers="cpu memory pids",
        cgroup__subtree_control="",
        cgroup__procs="1\n2\n",
    )
    found = hierarchy.find(mounts=mount(tmp_path, "cgroup2"), membership=f"0::/run-1.scope/{hierarchy.SERVICE_GROUP}\n")
    assert found.kind == "v2"
    assert found.folders == (own,)
