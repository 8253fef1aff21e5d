"""The tool `write`: a file is replaced as a whole or not at all."""

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.sandbox.agent.edit import edit
from holdfast.sandbox.agent.files import Root
from holdfast.sandbox.agent.inputs import ToolError
from holdfast.sandbox.agent.replace import NEW_FILES
from holdfast.sandbox.agent.write import write
from tests.unit.sandbox.agent.conftest import names_in, text_of


@pytest.fixture
def small_files() -> Iterator[int]:
    """No file may be longer than this: the kernel refuses a write in its middle, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield 100_000
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def test_bytes_are_written_as_they_are(root: Root) -> None:
    assert text_of(write(root, {"file_path": "x/y", "content": "é\r\n"})) == "wrote 4 bytes to x/y"
    assert Path(root.path, "x/y").read_bytes() == "é\r\n".encode()
    assert Path(root.path, "x/y").stat().st_mode & 0o777 == 0o644


def test_a_reader_has_the_old_content_or_the_new(root: Root) -> None:
    path = Path(root.path, "f")
    path.write_text("old" * 1000)
    with path.open() as reader:
        assert reader.read(3) == "old"
        write(root, {"file_path": "f", "content": "new"})
        assert reader.read() == "old" * 999
        edit(root, {"file_path": "f", "old_string": "new", "new_string": "newer"})
    assert path.read_text() == "newer"


def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(root: Root, small_files: int) -> None:
    path = Path(root.path, "f")
    path.write_text("old")
    for given in ({"content": "x" * (small_files + 1)}, {"content": "é" * small_files}):
        with pytest.raises(ToolError, match="write: f: larger than a file may be"):
            write(root, {"file_path": "f", **given})
        assert path.read_text() == "old"
    with pytest.raises(ToolError, match="edit: f: larger than a file may be"):
        edit(root, {"file_path": "f", "old_string": "old", "new_string": "x" * (small_files + 1)})
    with pytest.raises(ToolError, match="larger than"):
        write(root, {"file_path": "new", "content": "x" * (small_files + 1)})
    assert path.read_text() == "old"
    assert names_in(root.path) == [".holdfast", "f"]
    assert names_in(root.path, NEW_FILES) == []


@pytest.mark.parametrize("mode", [0o755, 0o600, 0o4755, 0o664])
def test_the_mode_is_kept(root: Root, mode: int) -> None:
    path = Path(root.path, "f")
    path.write_text("a")
    path.chmod(mode)
    write(root, {"file_path": "f", "content": "b"})
    edit(root, {"file_path": "f", "old_string": "b", "new_string": "c"})
    assert path.read_text() == "c"
    assert path.stat().st_mode & 0o7777 == mode


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write every file")
def test_what_may_not_be_written_is_not_replaced(root: Root) -> None:
    path = Path(root.path, "d/f")
    path.parent.mkdir()
    path.write_text("a")
    path.chmod(0o444)
    for mode, again in ((0o755, 0o755), (0o555, 0o755)):
        path.parent.chmod(mode)
        with pytest.raises(ToolError, match="write: d/f: permission denied"):
            write(root, {"file_path": "d/f", "content": "b"})
        path.parent.chmod(again)
        path.chmod(0o644)
    assert path.read_text() == "a"


def test_a_link_stays_and_its_file_is_replaced(root: Root) -> None:
    Path(root.path, "real").mkdir()
    Path(root.path, "real/f").write_text("a")
    Path(root.path, "relative").symlink_to("real/f")
    Path(root.path, "absolute").symlink_to(f"{root.path}/real/f")
    Path(root.path, "folder").symlink_to(f"{root.path}/real")
    for name in ("relative", "absolute", "folder/f"):
        write(root, {"file_path": name, "content": name})
        assert Path(root.path, "real/f").read_text() == name
    assert Path(root.path, "relative").is_symlink()
    assert Path(root.path, "absolute").is_symlink()
    Path(root.path, "dangling").symlink_to("real/new")
    write(root, {"file_path": "dangling", "content": "x"})
    assert Path(root.path, "real/new").read_text() == "x"


def test_other_names_of_a_file_that_keep_the_old_content_are_told(root: Root) -> None:
    path, other = Path(root.path, "f"), Path(root.path, "other")
    path.write_text("a")
    assert "link" not in text_of(write(root, {"file_path": "f", "content": "b"}))
    other.hardlink_to(path)
    assert "1 more hard link(s)" in text_of(write(root, {"file_path": "f", "content": "c"}))
    assert (path.read_text(), other.read_text()) == ("c", "b")
    assert "link" not in text_of(write(root, {"file_path": "other", "content": "d"}))


@pytest.mark.parametrize("instead", ["file", "fifo", "link", "nothing"])
def test_files_are_written_whatever_has_become_of_the_agents_folder(root: Root, instead: str) -> None:
    hidden = Path(root.path, ".holdfast")
    match instead:
        case "file":
            hidden.write_text("")
        case "fifo":
            os.mkfifo(hidden)
        case "link":
            hidden.symlink_to("/nonexistent")
        case _:
            pass
    Path(root.path, "f").write_text("a")
    write(root, {"file_path": "f", "content": "b"})
    assert Path(root.path, "f").read_text() == "b"
    assert names_in(root.path) == [".holdfast", "f"]


def test_what_is_no_regular_file_is_refused(root: Root) -> None:
    Path(root.path, "folder").mkdir()
    os.mkfifo(Path(root.path, "fifo"))
    for path, said in (("folder", "is a directory"), ("fifo", "not a regular file"), (".", "is a directory"),
                       ("new/", "is a directory")):  # fmt: skip
        with pytest.raises(ToolError, match=said):
            write(root, {"file_path": path, "content": "x"})
    for path, said in (("folder", "directory|regular"), ("none", "no such file"), (".", "directory|regular")):
        with pytest.raises(ToolError, match=said):
            edit(root, {"file_path": path, "old_string": "x", "new_string": "y"})
