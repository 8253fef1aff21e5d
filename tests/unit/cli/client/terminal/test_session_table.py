"""The table of `holdfast sessions`: statuses in words, and lines that fit the terminal."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len

from holdfast.cli.client.terminal.session_table import Row, age, fields, status_of, table, truncate

NOW = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)

TITLES = [
    "Write a haiku about durable logs", "", "[bold]x[/] [/id]", "\x1b[31mred\nand a new line\tand a tab",
    "日本語のとても長い題名がここにありますのでどこかで切られなければなりません" * 2,
    "👨‍👩‍👧 families " * 9, "مرحبا " * 20,
]  # fmt: skip


def row(title: str, status: str = "idle", number: int = 1) -> Row:
    return Row(
        id=f"sesn_a0_01m8d9g68xetmssyp8nesj2{number:03}", status=status, title=title, agent="Holdfast",
        created_at=NOW - timedelta(minutes=5), updated_at=NOW - timedelta(minutes=3), input_tokens=1_234_567,
        output_tokens=50,
    )  # fmt: skip


@pytest.mark.parametrize("width", [20, 40, 59, 60, 80, 99, 100, 200])
@pytest.mark.parametrize("status", ["idle", "waits for you"])
def test_a_session_is_one_line_that_fits(width: int, status: str) -> None:
    lines = table([row(title, status, n) for n, title in enumerate(TITLES)], width, NOW)
    assert len(lines) == len(TITLES) + 1
    for number, line in enumerate(lines):
        assert cell_len(line.plain) <= max(width, 20), line.plain
        assert "\n" not in line.plain
        assert "\x1b" not in line.plain
        if number and width >= 40:
            assert line.plain.startswith(f"8nesj2{number - 1:03}"[-8:])
    if width >= 40:
        assert all(status in line.plain for line in lines[1:])
    assert ("3 min ago" in lines[1].plain) is (width >= 60)
    assert ("1234567/50" in lines[1].plain) is (width >= 100)
    if width == 80:
        assert "Write a haiku about durable logs" in lines[1].plain
        assert "[bold]x[/] [/id]" in lines[3].plain
        assert lines[5].plain.endswith("…")


def test_a_line_for_programs_has_full_values() -> None:
    values = fields(row("a\tb\nc")).split("\t")
    assert values[0] == "sesn_a0_01m8d9g68xetmssyp8nesj2001"
    assert values[1:] == [
        "idle", "2026-11-27T11:55:00+00:00", "2026-11-27T11:57:00+00:00", "1234567", "50", "Holdfast", "a␉b␊c",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "archived", "stop", "word"),
    [
        ("running", None, None, "running"), ("rescheduling", None, None, "retrying"), ("idle", None, None, "idle"),
        ("idle", None, "end_turn", "idle"), ("idle", None, "requires_action", "waits for you"),
        ("idle", None, "retries_exhausted", "failed"), ("idle", None, "refusal", "failed"),
        ("running", None, "requires_action", "running"), ("idle", NOW, "requires_action", "archived"),
        ("terminated", None, None, "ended"),
    ],
)  # fmt: skip
def test_the_status_of_a_session_is_a_word(status: str, archived: Any, stop: str | None, word: str) -> None:
    assert status_of(SimpleNamespace(status=status, archived_at=archived), stop) == word


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s ago"), (59, "59 s ago"), (60, "1 min ago"), (3599, "59 min ago"), (7300, "2 h ago"),
        (86400, "1 day ago"), (86400 * 31, "31 days ago"), (86400 * 60, "2026-09-28"),
    ],
)  # fmt: skip
def test_ages(seconds: int, text: str) -> None:
    assert age(NOW - timedelta(seconds=seconds), NOW) == text


def test_text_is_cut_by_columns_not_by_characters() -> None:
    assert truncate("abc", 3) == "abc"
    assert truncate("abcd", 3) == "ab…"
    assert truncate("日本語", 4) == "日…"
    assert cell_len(truncate("日本語", 5)) == 5
