"""A shell that is killed has answered nothing more, and an answer that is there comes before a time limit."""

import os
import select
import time
from pathlib import Path

from holdfast.sandbox.agent.bash_process import BashProcess
from holdfast.sandbox.agent.poller import Poller


class _Over(Exception):
    pass


def _end() -> None:
    raise _Over


def _run(poller: Poller) -> None:
    try:
        poller.run()
    except _Over:
        return


def test_the_answer_of_a_shell_that_is_killed_counts_no_more(tmp_path: Path) -> None:
    """The command would end as if the shell stayed, and the next one would be sent to it."""
    poller = Poller()
    answers: list[bytes] = []
    bash = BashProcess(poller, (str(tmp_path), "/"), lambda _: None, answers.append, _end)
    bash.send(b"touch done\0")
    ready = select.poll()
    ready.register(bash._status, select.POLLIN)
    assert ready.poll(10_000)
    bash.end()
    _run(poller)
    assert bash.reap() == -9
    assert (tmp_path / "done").exists()
    assert answers == []


def test_what_has_been_answered_in_time_comes_before_a_timer_that_is_due() -> None:
    poller = Poller()
    read, write = os.pipe()
    seen: list[str] = []
    timer = poller.after(0, lambda: seen.append("timer"))

    def answered() -> None:
        seen.append(os.read(read, 10).decode())
        poller.drop(timer)
        poller.unwatch(read)

    poller.watch(read, answered)
    poller.after(0.01, _end)
    os.write(write, b"answer")
    time.sleep(0.02)  # the process was held up
    _run(poller)
    os.close(read)
    os.close(write)
    assert seen == ["answer"]
