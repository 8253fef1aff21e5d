"""The id of a host is made once for each data folder, and moves with it."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from holdfast.bus.ids import is_token
from holdfast.process.settings import BadSettings
from holdfast.sandbox.drivers.host_id import FILE, host_id


def test_a_folder_keeps_its_id(tmp_path: Path) -> None:
    made = host_id(tmp_path)
    assert is_token(made)
    assert host_id(tmp_path) == made
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_two_folders_have_two_ids_and_a_moved_one_keeps_its_own(tmp_path: Path) -> None:
    one, two, moved = tmp_path / "one", tmp_path / "two", tmp_path / "moved"
    one.mkdir()
    two.mkdir()
    made = host_id(one)
    assert host_id(two) != made
    shutil.move(one, moved)
    assert host_id(moved) == made


def test_workers_that_start_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: host_id(tmp_path), range(32)))) == 1


def test_a_file_without_an_id_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("")
    with pytest.raises(BadSettings, match="does not hold the id of a host"):
        host_id(tmp_path)
    assert (tmp_path / FILE).read_text() == ""
