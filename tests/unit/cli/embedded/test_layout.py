"""The data folder: its files, its lock, its ports and its secrets."""

from pathlib import Path

import pytest

from holdfast.cli.embedded.layout import MAX_LOG_BYTES, BadFolder, Layout, write_private
from holdfast.cli.embedded.ports import free_port


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


def layout_with_ports(folder: Path, ports: dict[str, int]) -> Layout:
    """A data folder in which an earlier start has stored these ports."""
    folder.mkdir()
    text = ", ".join(f'"{name}": {port}' for name, port in ports.items())
    (folder / "stack.json").write_text(f'{{"id": "x", "ports": {{{text}}}}}')
    made = Layout(folder)
    made.open()
    return made


def test_no_two_processes_get_one_port(tmp_path: Path) -> None:
    port = free_port()
    # Stored for two processes, as versions before this one could do.
    layout = layout_with_ports(tmp_path / "two", {"nats": port, "bao": port})
    assert len({layout.port("nats"), layout.port("bao"), layout.port("vault")}) == 3
    # Asked for by the user, and stored for another process.
    layout = layout_with_ports(tmp_path / "asked", {"nats": port})
    assert layout.fixed_port("edge", port, 8700) == port
    assert layout.port("nats") != port
    # The default, which is stored for another process.
    layout = layout_with_ports(tmp_path / "default", {"nats": port})
    assert layout.fixed_port("edge", None, port) == port
    assert layout.port("nats") != port


def test_a_new_port_is_none_that_another_process_has(tmp_path: Path) -> None:
    range_end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    taken = set(range(10_000, range_end - 20))
    layout = layout_with_ports(tmp_path / "full", {f"name-{port}": port for port in taken})
    assert not {layout.port(f"new-{number}") for number in range(5)} & taken
