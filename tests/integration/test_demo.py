"""`holdfast demo`, as `make demo` runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOLDFAST = Path(sys.executable).with_name("holdfast")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("columns", ["160", "40"])
@pytest.mark.usefixtures("isolation")
def test_the_demo_ends_well(tmp_path: Path, columns: str) -> None:
    environ = {"PATH": os.environ["PATH"], "COLUMNS": columns, "TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [HOLDFAST, "demo"],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    checks = [line for line in lines if line.startswith(("yes", "NO"))]
    assert len(checks) == 7
    assert all(line.startswith("yes") for line in checks)
    prose = [line for line in done.stdout.splitlines() if HOLDFAST.name + " " not in line]
    assert max(map(len, prose)) <= int(columns)
    killed = next(n for n, line in enumerate(lines) if "kill -9" in line)
    taken = next(n for n, line in enumerate(lines) if "takeover" in line)
    assert killed < taken < len(lines) - len(checks)
    assert lines[-1].endswith('run "Write a haiku to poem.txt"')
    assert any(line.startswith("Passed.") for line in lines)
    assert any("+ return re.sub(" in line for line in lines)
    assert not done.stderr
    assert not list(tmp_path.glob("holdfast-demo-*"))


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "nats").write_text("a file where a folder must be")
    done = subprocess.run(
        [HOLDFAST, "demo", "--data", tmp_path / "data"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "it is a file, and a folder is needed" in done.stderr
    assert str(tmp_path / "data" / "nats") in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.timeout(180)
def test_a_failed_start_is_told_in_the_words_of_up_and_its_folder_is_kept(tmp_path: Path) -> None:
    done = subprocess.run(
        [HOLDFAST, "demo"],
        env={
            "PATH": os.environ["PATH"],
            "TMPDIR": str(tmp_path),
            "HOME": str(tmp_path),
            "HOLDFAST_MAX_TOKENS": "many",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 1
    assert re.search(r"✗ harness-\d: HOLDFAST_MAX_TOKENS: ", done.stderr), done.stderr
    assert "{" not in done.stderr
    (kept,) = tmp_path.glob("holdfast-demo-*")
    assert f"kept in {kept}" in done.stderr
    assert (kept / "logs" / "harness-1.log").exists()
