"""The end of the start of a background stack: its output leaves the terminal, and its parent is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.cli.embedded.environment import READY_FD

PROGRAM = """
import sys
from pathlib import Path
from holdfast.cli.embedded import detach
detach.release(Path(sys.argv[1]))
print("later", flush=True)
"""


@pytest.mark.parametrize("writable", [True, False])
def test_the_parent_is_told_even_if_the_log_cannot_be_written(tmp_path: Path, writable: bool) -> None:
    log = tmp_path / ("up.log" if writable else "no-such-folder/up.log")
    reading, writing = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(log)],
            env={**os.environ, READY_FD: str(writing)},
            pass_fds=(writing,),
            capture_output=True,
            check=False,
            timeout=60,
        )
        os.close(writing)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert os.read(reading, 10) == b"1"
    finally:
        os.close(reading)
    assert log.exists() == writable
    if writable:
        assert log.read_text() == "later\n"
