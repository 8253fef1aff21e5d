"""Lines of logs: parsed from the formats of four programs, and formatted for people."""

from datetime import UTC, datetime

import pytest

from holdfast.cli.embedded.log_lines import Entry, parse, shown, since

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def test_the_log_formats_of_all_programs_are_parsed() -> None:
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


def test_since_takes_a_duration_or_a_time() -> None:
    assert since("90m", NOW) == datetime(2026, 11, 27, 10, 30, tzinfo=UTC)
    assert since("2026-11-26T00:00:00Z", NOW) == datetime(2026, 11, 26, tzinfo=UTC)
    for wrong in ("", "yesterday", "10 minutes", "-5m"):
        with pytest.raises(ValueError, match="10m"):
            since(wrong, NOW)


def test_escape_sequences_in_a_log_are_removed() -> None:
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
