"""What scripts, cron and full disks leave a command with: no command ends with a traceback for it."""

import subprocess
from pathlib import Path

import pytest

from tests.support.command import ENVIRON, HOLDFAST
from tests.support.model import bash, say
from tests.support.stack import Stack

FULL = "holdfast: the output cannot be written: No space left on device\n"


def shell(command: str) -> tuple[int, str, str]:
    """Exit code, output and errors of `command`, in which HOLDFAST stands for the program."""
    done = subprocess.run(
        ["bash", "-c", command.replace("HOLDFAST", HOLDFAST)], env=ENVIRON, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr, done
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", ["--help", "version", "run --help", "logs --data DATA", "logs --json --data DATA"])
def test_output_to_a_full_disk_is_a_failure_of_one_line(tmp_path: Path, command: str) -> None:
    command = f"HOLDFAST {command.replace('DATA', str(tmp_path))}"
    (tmp_path / "logs").mkdir()
    line = '{"event": "a line", "level": "info", "timestamp": "2026-11-27T03:00:00Z"}\n'
    (tmp_path / "logs" / "session.log").write_text(line * 10_000)
    code, out, err = shell(f"{command} >/dev/full")
    assert (code, out) == (1, "")
    assert err.endswith("No space left on device\n")
    assert err.count("\n") == 1
    assert shell(f"{command} >/dev/full 2>/dev/full") == (1, "", "")


def test_closed_streams_are_as_if_nobody_reads_and_nothing_comes(tmp_path: Path) -> None:
    assert shell("HOLDFAST version >&-") == (0, "", "")
    code, out, err = shell("HOLDFAST version <&- 2>&-")
    assert (code, err) == (0, "")
    assert out
    assert shell(f"HOLDFAST status --data {tmp_path} 2>&-") == (2, "", "")
    assert shell(f"HOLDFAST status --data {tmp_path} <&- >&- 2>&-") == (2, "", "")
    assert shell("HOLDFAST sessions --nope 2>&-") == (2, "", "")
    code, _, err = shell(f"HOLDFAST run - --data {tmp_path} <&-")
    assert code == 2
    assert "no task is on standard input" in err


@pytest.mark.parametrize("command", ["status", "env", "down", "up", "sessions", "status --data x"])
def test_a_current_folder_that_is_gone_is_told(tmp_path: Path, command: str) -> None:
    gone = tmp_path / "gone"
    code, out, err = shell(f"mkdir {gone}; cd {gone}; rmdir {gone}; HOME={tmp_path} HOLDFAST {command}")
    assert (code, out) == (2, "")
    assert err == "holdfast: the current folder does not exist any more: change to another one\n"


@pytest.mark.timeout(180)
async def test_a_task_goes_on_when_its_output_cannot_be_written(shared: Stack) -> None:
    name = await shared.model.play(bash("echo one"), say("Done."))
    assert shell(f"HOLDFAST run '[play:{name}] go' --data {shared.data} >/dev/full") == (1, "", FULL)
    name = await shared.model.play(bash("echo one"), say("Done."))
    assert shell(f"HOLDFAST run '[play:{name}] go' --data {shared.data} >&-") == (0, "", "")
    assert len(await shared.model.requests(name, count=2)) == 2
