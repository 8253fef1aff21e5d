"""The last lines of a log, and the cause of a failure in it."""

from pathlib import Path

import pytest

from holdfast.cli.embedded.log_tail import cause, last_lines


def test_the_last_lines_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log) == []
    log.write_text("".join(f"line {n}\n" for n in range(1000)))
    assert last_lines(log, 2) == ["line 998", "line 999"]
    assert last_lines(log, 5, since=log.stat().st_size) == []


REFUSED = """\
{"event": "cannot start", "cause": "BadSettings: HOLDFAST_X: no", "level": "critical", \
"timestamp": "2026-11-27T03:00:00Z"}"""

LIMITS = """\
{"event": "no sandbox can be had", "cause": "weak \\u2026", "level": "warning", "timestamp": "2026-11-27T03:00:00Z"}
{"event": "later", "level": "info", "timestamp": "2026-11-27T03:00:01Z"}"""


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            REFUSED,
            "HOLDFAST_X: no",
        ),
        (
            LIMITS,
            "weak …",
        ),
        ("[7] 2026/11/27 03:00:00.000001 [FTL] Error listening on port: 4222", "Error listening on port: 4222"),
        ("Traceback (most recent call last):\n  File x\nModuleNotFoundError: no x", "ModuleNotFoundError: no x"),
        ("a \x1b[31mred\x1b[0m word", "a red word"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_cause_in_a_log_is_a_sentence(tmp_path: Path, lines: str, said: str) -> None:
    log = tmp_path / "log"
    log.write_text("an older line\n" + lines + "\n")
    assert cause("sandbox", log, since=len("an older line\n")) == said
