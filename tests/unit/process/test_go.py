"""A process that was started ahead of what it needs waits for a byte on a pipe."""

import os
import subprocess
import sys

CODE = "from holdfast.process.go import wait_for_go; print('loaded', flush=True); wait_for_go(); print('on')"


def waiting(go: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CODE],
        env={**os.environ, "HOLDFAST_GO_FD": str(go)},
        pass_fds=(go,),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "loaded\n"
    return process


def test_it_goes_on_when_it_is_told() -> None:
    reading, writing = os.pipe()
    process = waiting(reading)
    os.close(reading)
    assert process.poll() is None
    os.write(writing, b"1")
    assert process.communicate(timeout=20)[0] == "on\n"
    assert process.returncode == 0
    os.close(writing)


def test_it_ends_when_nobody_is_left_to_tell_it() -> None:
    reading, writing = os.pipe()
    process = waiting(reading)
    os.close(reading)
    os.close(writing)
    assert process.communicate(timeout=20)[0] == ""
    assert process.returncode == 0


def test_without_a_pipe_it_goes_on_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == "loaded\non\n"
