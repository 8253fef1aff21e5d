"""The data folder: its files, its lock, its ports and its secrets."""

from pathlib import Path

import pytest

from holdfast.cli.embedded.layout import MAX_LOG_BYTES, BadFolder, Layout, write_private


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "data")
    made.open()
    return made


def test_the_data_folder_has_a_gitignore_unless_it_is_a_project(tmp_path: Path) -> None:
    Layout(tmp_path / "new").open()
    assert (tmp_path / "new" / ".gitignore").read_text() == "*\n"
    (tmp_path / "new2").mkdir()
    Layout(tmp_path / "new2").open()
    assert (tmp_path / "new2" / ".gitignore").read_text() == "*\n"
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "main.py").touch()
    Layout(tmp_path / "project").open()
    assert not (tmp_path / "project" / ".gitignore").exists()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "stack.json").write_text('{"id": "x"}')
    (tmp_path / "old" / ".gitignore").write_text("mine\n")
    Layout(tmp_path / "old").open()
    assert (tmp_path / "old" / ".gitignore").read_text() == "mine\n"


def test_the_error_says_why_a_folder_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(BadFolder, match=r"(?s)it is a file.*--data FOLDER"):
        Layout(file).open()
    with pytest.raises(BadFolder, match="a part of the path is a file"):
        Layout(file / "below").open()
    with pytest.raises(BadFolder, match="too long"):
        Layout(tmp_path / ("x" * 300)).open()
    with pytest.raises(BadFolder, match="quote"):
        Layout(tmp_path / 'with"quote').open()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "stack.json").write_text("{")
    with pytest.raises(BadFolder, match=r"stack\.json is damaged"):
        Layout(tmp_path / "bad").open()
    with pytest.raises(BadFolder, match="/proc/none: "):
        Layout(Path("/proc/none")).open()


def test_a_private_file_never_has_other_permissions(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o666)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_large_log_is_trimmed_while_its_writer_goes_on(layout: Layout) -> None:
    log = layout.log("session")
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * (MAX_LOG_BYTES + 1))
        layout.trim_logs()
        writer.write(b"after\n")
    assert log.read_bytes() == b"after\n"
    assert (layout.logs / "session.log.1").stat().st_size == MAX_LOG_BYTES + 1
