"""The size of a workspace."""

import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.sandbox.drivers.bubblewrap import disk, open_files
from holdfast.sandbox.drivers.bubblewrap.disk import Quota, Space, Use

LIMITED = Quota(100 << 20, 1000, reserve=512 << 20, reserve_files=10_000)
PLENTY = Space(1 << 40, 1 << 40)


def test_a_workspace_that_begins_over_its_limit_may_still_be_tidied() -> None:
    full = Use(500 << 20, 5000)
    assert LIMITED.breach(full)
    assert not LIMITED.with_room(full).breach(full)
    assert LIMITED.with_room(full).breach(Use(600 << 20, 5000))
    assert LIMITED.with_room(full).reserve_files == 10_000


def test_only_what_grows_is_ended_when_the_disk_is_nearly_full() -> None:
    held, more, many = Use(50 << 20, 100), Use(90 << 20, 100), Use(50 << 20, 900)
    for space in (PLENTY, Space(512 << 20, 10_000)):
        assert not LIMITED.is_scarce(space)
        assert not LIMITED.growth(held, more + many, space)
    little_space, few_files = Space((512 << 20) - 1, 1 << 40), Space(1 << 40, 9_999)
    assert LIMITED.is_scarce(little_space)
    assert LIMITED.is_scarce(few_files)
    for unchanged in (held, Use(60 << 20, 200), Use()):
        assert not LIMITED.growth(held, unchanged, little_space)
        assert not LIMITED.growth(held, unchanged, few_files)
    assert "little space" in LIMITED.growth(held, more, little_space)
    assert not LIMITED.growth(held, many, little_space)
    assert "little room for files" in LIMITED.growth(held, many, few_files)
    assert not LIMITED.growth(held, more, few_files)


def test_without_a_reserve_nothing_is_scarce() -> None:
    assert not Quota(1, 1).is_scarce(Space(-5, -5))
    assert not Quota(1, 1).growth(Use(), Use(1 << 40, 1 << 40), Space(-5, -5))


def test_a_workspace_is_measured_without_following_anything(tmp_path: Path) -> None:
    root = tmp_path
    (root / "a").mkdir()
    (root / "a" / "f").write_bytes(b"x" * 100_000)
    (root / "link").symlink_to("/usr")
    (root / "hard").hardlink_to(root / "a" / "f")
    use = disk.measure(root, Quota(1 << 40, 1 << 40))
    assert use.files == 4
    assert 100_000 <= use.size < 130_000
    with pytest.raises(FileNotFoundError):
        disk.measure(root / "none", Quota(1, 1))


def test_a_folder_that_may_not_be_read_hides_nothing(tmp_path: Path) -> None:
    """As root this test cannot fail: root reads every folder."""
    dark = tmp_path / "dark"
    dark.mkdir()
    (dark / "big").write_bytes(b"x" * 1_000_000)
    dark.chmod(0o300)
    assert disk.measure(tmp_path, Quota(1 << 40, 1 << 40)).size > 1_000_000
    tmp_path.chmod(0o300)
    assert disk.measure(tmp_path, Quota(1 << 40, 1 << 40)).size > 1_000_000


def test_free_space_counts_bytes_and_files(tmp_path: Path) -> None:
    found = disk.free(tmp_path)
    assert found.size > 0
    assert found.files > 0


def test_a_deleted_file_counts_while_it_is_open_or_mapped(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    code = "import os, sys\nfile = open('f', 'wb', buffering=0); file.write(b'x' * 1_000_000); input()\n"
    code += "os.unlink('f'); print(flush=True); input()\n"
    # Python's mmap keeps a descriptor of its own; that of the C library does not.
    code += "import ctypes; libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p; n = 1 << 20\n"
    code += "assert libc.mmap(None, ctypes.c_size_t(n), 1, 2, os.open(f'/proc/self/fd/{file.fileno()}', 0), 0) > 0\n"
    code += "os.closerange(3, 99); print(flush=True); input()\n"
    # The standard error of the test is a file without a name.
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    ) as process:
        assert process.stdin
        assert process.stdout
        assert open_files.measure([process.pid], device) == Use(), "it has a name"
        for how in ("opened", "mapped"):
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.stdout.readline()
            held = open_files.measure([process.pid, 999_999_999], device)
            assert (held.size >= 1_000_000, held.files) == (True, 1), how
            assert open_files.measure([process.pid], device + 1) == Use()
        process.kill()
