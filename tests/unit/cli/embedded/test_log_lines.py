"""Lines of logs: read from the forms of four programs, and shown."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.cli.embedded import log_files
from holdfast.cli.embedded.log_lines import Entry, parse, shown, since
from holdfast.cli.embedded.sizes import human

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def test_the_forms_of_all_programs_are_read() -> None:
    ours = parse("vault", '{"event": "ready", "level": "info", "timestamp": "2026-11-27T03:00:00Z", "url": "x"}')
    assert ours == Entry(datetime(2026, 11, 27, 3, tzinfo=UTC), "vault", "info", "ready", {"url": "x"})
    nats = parse("nats", "[12] 2026/11/27 03:35:23.540134 [WRN] Filestore [LOG] is slow")
    assert nats
    assert (nats.level, nats.text, nats.at.astimezone().hour) == ("warning", "Filestore [LOG] is slow", 3)
    bao = parse("bao", "2026-11-27T03:53:29.063Z [ERROR] core: failed: error=x")
    assert bao
    assert (bao.level, bao.text, bao.at.second) == ("error", "core: failed: error=x", 29)
    for other in ("Traceback (most recent call last):", "{not json", '{"event": "no time"}', ""):
        assert parse("vault", other) is None


def test_times_are_named_in_two_ways() -> None:
    assert since("90m", NOW) == datetime(2026, 11, 27, 10, 30, tzinfo=UTC)
    assert since("2026-11-26T00:00:00Z", NOW) == datetime(2026, 11, 26, tzinfo=UTC)
    for wrong in ("", "yesterday", "10 minutes", "-5m"):
        with pytest.raises(ValueError, match="10m"):
            since(wrong, NOW)


def test_colours_are_ours_alone() -> None:
    entry = Entry(NOW, "up", "error", "\x1b[32mgreen", {"key": "\x9b1mv"})
    assert "\x1b" not in shown(entry, width=2, colours=False)
    coloured = shown(entry, width=2, colours=True)
    assert "\x1b[31merror\x1b[0m" in coloured
    assert "\x1b[32m" not in coloured
    assert "\x9b" not in coloured


def test_values_are_readable() -> None:
    fields = {"a": "two words", "n": 3, "l": ["ü", None], "empty": "", "error": "it broke", "trace_id": "00"}
    line = shown(Entry(NOW, "up", "info", "what", fields), width=4, colours=False)
    assert line.endswith('up    info   what: it broke  a="two words" n=3 l=["ü",null] empty=""')


def test_files_are_merged_by_time_and_followed_past_a_trim(tmp_path: Path) -> None:
    def line(second: int, text: str) -> str:
        return json.dumps({"event": text, "timestamp": f"2026-11-27T03:00:{second:02d}Z"}) + "\n"

    (tmp_path / "a.log.1").write_text(line(1, "a1"))
    (tmp_path / "a.log").write_text("lost beginning\n" + line(3, "a3") + "more of a3\n" + line(6, "a6"))
    (tmp_path / "b.log").write_text(line(2, "b2") + line(4, "b4"))
    (tmp_path / "bao-audit.log").write_text(line(5, "secret"))
    assert log_files.services(tmp_path) == ["a", "b"]
    found = list(log_files.entries(tmp_path, ["a", "b"]))
    assert [e.text for e in found] == ["a1", "b2", "a3", "b4", "a6"]
    assert found[0].more == ["lost beginning"]
    assert found[2].more == ["more of a3"]

    follower = log_files.LogFollower(tmp_path, [])
    assert follower.new() == []
    whole = line(8, "a8")
    with (tmp_path / "a.log").open("a") as file:
        file.write(whole[:20])
    (tmp_path / "c.log").write_text(line(7, "c7"))
    assert [e.text for e in follower.new()] == ["c7"]
    with (tmp_path / "a.log").open("a") as file:
        file.write(whole[20:])
    assert [e.text for e in follower.new()] == ["a8"]
    (tmp_path / "a.log").write_text(line(9, "a9"))  # trimmed
    assert [e.text for e in follower.new()] == ["a9"]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9940, "9.9 kB"),
        (9960, "10 kB"),
        (999_600, "1.0 MB"),
        (64_000_000, "64 MB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert human(size) == text
