"""`holdfast demo`, as `make demo` runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOLDFAST = Path(sys.executable).with_name("holdfast")


@pytest.mark.timeout(180)
def test_the_demo_ends_well(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "COLUMNS": "160"}
    done = subprocess.run(
        [HOLDFAST, "demo", "--data", tmp_path / "data"],
        env=environ,
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
    killed = next(n for n, line in enumerate(lines) if "kill -9" in line)
    taken = next(n for n, line in enumerate(lines) if "takeover" in line)
    assert killed < taken < len(lines) - len(checks)
    assert not done.stderr


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "nats").write_text("a file where a folder must be")
    done = subprocess.run(
        [HOLDFAST, "demo", "--data", tmp_path / "data"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "did not start" in done.stderr
    assert "Traceback" not in done.stdout
