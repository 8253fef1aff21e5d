"""run.json: written, read, and ignored when its stack is gone."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast.cli.embedded.layout import Layout
from holdfast.cli.embedded.runfile import RunFile, read, running, write
from holdfast.cli.embedded.stack import Stack


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "data")
    made.open()
    return made


def test_a_run_file_is_written_atomically_and_private(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    assert read(path) is None
    run = RunFile(
        base_url="http://127.0.0.1:1", api_key="hf_x", data="/d", logs="/d/logs", nats_url="nats://127.0.0.1:2",
        credentials={}, supervisor=1, processes={"nats": 2}, health={},
    )  # fmt: skip
    write(path, run)
    assert read(path) == run
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert run.workspace("sesn_a0_1") == Path("/d/sandbox/workspaces/default/sesn_a0_1")


def test_the_run_file_of_a_dead_stack_is_ignored(layout: Layout) -> None:
    assert running(layout.data) is None
    stack = Stack(layout, port=0, harnesses=1, sync="1s", environ={})
    run = stack.run_file({})
    write(layout.run_file, run)
    assert running(layout.data) == run
    write(layout.run_file, replace(run, supervisor_started=1))  # the number was given to another process
    assert running(layout.data) is None
    write(layout.run_file, replace(run, supervisor=2**22 + 1))
    assert running(layout.data) is None
