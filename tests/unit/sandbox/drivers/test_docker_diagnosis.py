"""Engines on which no sandbox can be made are refused, each with its cause and a way out."""

import errno
from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast.sandbox.drivers.docker import diagnosis
from holdfast.sandbox.drivers.docker.door import look
from holdfast.sandbox.drivers.docker.facts import Door, Facts

GOOD = Facts(
    server_version="24.0", os_type="linux", runtimes={"runc": {}, "runsc": {}},
    security_options=("name=seccomp,profile=default", "name=cgroupns"),
    memory_limit=True, swap_limit=True, pids_limit=True, cpu_cfs_quota=True,
)  # fmt: skip

REFUSED = {
    "too old": (GOOD, "1.40", "runc", "is too old"),
    "not linux": (replace(GOOD, os_type="windows"), "1.41", "runc", "makes containers for windows"),
    "rootless": (replace(GOOD, security_options=("name=seccomp", "name=rootless")), "1.41", "runc", "without root"),
    "mapped users": (replace(GOOD, security_options=("name=seccomp", "name=userns")), "1.41", "runc", "maps users"),
    "no filter": (replace(GOOD, security_options=("name=apparmor",)), "1.41", "runc", "cannot filter system calls"),
    "no options at all": (replace(GOOD, security_options=None), "1.41", "runc", "cannot filter system calls"),
    "no such runtime": (GOOD, "1.41", "kata", "no runtime 'kata' (HOLDFAST_DOCKER_RUNTIME); it has runc, runsc"),
    "no runtimes": (replace(GOOD, runtimes=None), "1.41", "runc", "no runtime 'runc'"),
}


@pytest.mark.parametrize(("facts", "api", "runtime", "words"), REFUSED.values(), ids=REFUSED)
def test_an_engine_that_does_not_do(facts: Facts, api: str, runtime: str, words: str) -> None:
    refusal = diagnosis.unsuitable(facts, api, runtime)
    assert refusal is not None
    assert words in refusal.cause
    assert refusal.remedies


@pytest.mark.parametrize("api", ["1.41", "1.50", "2.0"])
def test_an_engine_that_does(api: str) -> None:
    assert diagnosis.unsuitable(GOOD, api, "runsc") is None
    assert diagnosis.weakness(GOOD) == ""


def test_limits_that_do_not_hold_are_named() -> None:
    weak = diagnosis.weakness(replace(GOOD, memory_limit=False, pids_limit=False))
    assert weak.startswith("memory, the number of processes cannot be limited")
    assert "HOLDFAST_ALLOW_WEAK_LIMITS=true" in str(diagnosis.weak_limits(weak))


@pytest.mark.parametrize(
    ("error", "command"),
    [
        (errno.ENOENT, "sudo apt install docker.io"),
        (errno.EACCES, "sudo usermod -aG docker $USER"),
        (errno.ECONNREFUSED, "sudo systemctl start docker"),
        (0, "sudo systemctl restart docker"),
        (errno.ETIMEDOUT, "sudo systemctl restart docker"),
    ],
)
def test_an_engine_that_is_away(error: int, command: str) -> None:
    refusal = diagnosis.away(Door("/run/d.sock", error), "it did not answer within 20 s")
    assert command in str(refusal)
    assert "HOLDFAST_DRIVER=bubblewrap" in str(refusal)


def test_the_door_is_looked_at(tmp_path: Path) -> None:
    assert look(str(tmp_path / "none")).error == errno.ENOENT
    (tmp_path / "file").touch()
    assert look(str(tmp_path / "file")).error == errno.ECONNREFUSED
