"""When the processes of a sandbox are ended because they start too many others, and when the sandbox is."""

from holdfast.sandbox.drivers.bubblewrap.fork_watch import MOST_REFUSED, PATIENCE_S, POLL_S, Refusals


def test_a_program_that_tries_again_after_a_pause_is_left_alone() -> None:
    refusals = Refusals()
    assert {refusals.add(round(POLL_S / 0.01), n * POLL_S) for n in range(1000)} == {"none"}


def test_processes_are_ended_at_each_look_and_the_sandbox_if_that_does_not_help() -> None:
    refusals = Refusals()
    looks = int(PATIENCE_S / POLL_S) + 2
    steps = [refusals.add(10 * MOST_REFUSED, n * POLL_S) for n in range(looks)]
    assert steps == [*["end processes"] * (looks - 1), "end sandbox"]


def test_the_next_bomb_has_its_processes_ended_too() -> None:
    refusals = Refusals()
    for n in range(20):
        assert refusals.add(10 * MOST_REFUSED, 60.0 * n) == "end processes"
        assert refusals.add(0, 60.0 * n + 2 * POLL_S) == "none"
