"""The messages about a disk that gets full, and the restarts of NATS after a failed write."""

from pathlib import Path

import pytest

from holdfast.cli.embedded.disk_watch import FIRST_RESTART_PAUSE_S, DiskWatch
from holdfast.cli.embedded.up_log import UpLog
from holdfast.process.disk import Space

GB = 1_000_000_000
FINE, LOW, FULL, EMPTY = (Space(100 * GB, free) for free in (50 * GB, GB // 2, 30_000_000, 0))
ERROR = "[7] 2026/11/27 03:35:23.540134 [ERR] JetStream stream '$G > LOG' critical write error: write 1.blk\n"


class Watched:
    """A watch whose time is counted in looks, one a second."""

    def __init__(self, folder: Path) -> None:
        self.nats_log = folder / "nats.log"
        self.nats_log.write_text(ERROR)
        self.restarts: list[float] = []
        self.now = 0.0
        self._watch = DiskWatch(folder, self.nats_log, UpLog(folder / "up.log"), lambda: self.restarts.append(self.now))

    def check(self, *rooms: Space) -> None:
        for room in rooms:
            self._watch.check(room, self.now)
            self.now += 1

    def fail(self) -> None:
        with self.nats_log.open("a") as file:
            file.write(ERROR)


def test_each_level_is_reported_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Watched(tmp_path).check(FINE, LOW, LOW, FULL, FULL, LOW, FINE, FINE)
    lines = capsys.readouterr().out.splitlines()
    assert ["getting full" in lines[0], "is full (30 MB free)" in lines[1]] == [True, True]
    assert ["has room again: 500 MB" in lines[2], "has room again: 50 GB" in lines[3]] == [True, True]
    assert len(lines) == 4


def test_nats_is_restarted_when_there_is_room_again_after_a_full_disk(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.check(FINE, FULL, EMPTY, FULL)
    assert watched.restarts == []
    watched.check(LOW, FINE, FINE)
    assert watched.restarts == [4]


def test_nats_is_not_restarted_without_need(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.check(FINE, LOW, FULL, LOW, FINE)
    assert watched.restarts == [], "an error from before this start is no reason"


def test_the_pause_between_restarts_of_nats_grows(tmp_path: Path) -> None:
    """As when a quota is reached, of which the free space says nothing."""
    watched = Watched(tmp_path)
    for _ in range(40):
        watched.fail()
        watched.check(FINE)
    pauses = [later - before for before, later in zip(watched.restarts, watched.restarts[1:], strict=False)]
    assert watched.restarts[0] == 0
    assert pauses == [2 * FIRST_RESTART_PAUSE_S, 4 * FIRST_RESTART_PAUSE_S]


def test_a_trimmed_log_is_read_from_its_beginning(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.nats_log.write_text("[7] short\n")
    watched.check(FINE)
    assert watched.restarts == []
    watched.fail()
    watched.check(FINE)
    assert watched.restarts == [1]
