"""What is done with the folder of the embedded nats-server before it starts."""

from pathlib import Path

from holdfast.cli.embedded.nats import remove_unfinished


def test_files_that_a_killed_server_left_unfinished_are_removed_and_no_others(tmp_path: Path) -> None:
    messages = tmp_path / "jetstream" / "A" / "streams" / "LOG_a0" / "msgs"
    messages.mkdir(parents=True)
    for name in ("1.blk", "1.blk.tmp", "12.blk.tmp", "index.db"):
        (messages / name).write_text("canary")
    remove_unfinished(tmp_path)
    assert sorted(path.name for path in messages.iterdir()) == ["1.blk", "index.db"]
    remove_unfinished(tmp_path / "not made yet")
