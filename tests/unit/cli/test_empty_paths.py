"""The empty value of a variable that is not set is no path: Python would take it for the current folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.cli.empty_paths import empty_path
from holdfast.cli.main import COMMANDS


@pytest.mark.parametrize(
    ("arguments", "found"),
    [(["up", "--data", ""], "up: --data"), (["run", "--dir=", "x"], "run: --dir"),
     (["run", "x", "--dir", ""], "run: --dir"), (["diff", "--patch", "", "s"], "diff: --patch"),
     (["run", "", "--dir", "."], None), (["run", "--dir", ".", ""], None),
     (["answer", "s", "--result", ""], None), (["answer", "s", "--message="], None), ([""], None), ([], None),
     (["nope", "--dir", ""], None)],
)  # fmt: skip
def test_only_an_option_for_a_path_is_found(arguments: list[str], found: str | None) -> None:
    assert empty_path(arguments, COMMANDS) == found


def test_nothing_is_made_in_the_current_folder(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "holdfast.cli", "up", "--data", ""],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 2
    assert b"holdfast up: --data needs a path" in run.stderr
    assert list(tmp_path.iterdir()) == []
