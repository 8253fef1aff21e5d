"""The log files of a stack, merged in the order of time and followed."""

import json
from pathlib import Path

from holdfast.cli.embedded import log_files


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
