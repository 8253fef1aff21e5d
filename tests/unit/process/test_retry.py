"""Attempts, their pauses and their ends, in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from holdfast.process.backoff import BUS_BACKOFF, Backoff
from holdfast.process.retry import Attempts, Pauses, keep_watching, retrying
from tests.simulation import virtual_time

STEADY = Backoff(first_s=1.0, longest_s=8.0, jitter=0.0)


T = TypeVar("T")


class Lost(Exception):
    pass


class Final(Lost):
    pass


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return virtual_time.run(main, lambda _task, _context: None)


def now() -> float:
    return asyncio.get_running_loop().time()


# --- the pauses --------------------------------------------------------------------------------------------------


def test_a_pause_doubles_up_to_the_longest() -> None:
    assert [STEADY.pause_s(n, 0.0) for n in (1, 2, 3, 4, 5, 10_000)] == [1, 2, 4, 8, 8, 8]


@given(
    first=st.floats(0.001, 60), longest=st.floats(0.001, 3600), jitter=st.floats(0, 1), failures=st.integers(1, 10**6),
    chance=st.floats(0, 1),
)  # fmt: skip
def test_the_jitter_only_shortens_a_pause_and_by_no_more_than_its_share(
    first: float, longest: float, jitter: float, failures: int, chance: float
) -> None:
    backoff = Backoff(first_s=first, longest_s=longest, jitter=jitter)
    full = backoff.pause_s(failures, 0.0)
    assert full <= longest
    assert full == min(first, longest) or failures > 1
    assert full * (1 - jitter) * 0.999 <= backoff.pause_s(failures, chance) <= full


def test_processes_that_failed_together_do_not_try_again_together() -> None:
    async def main() -> list[float]:
        return [Pauses(BUS_BACKOFF).next_s() for _ in range(20)]

    assert len(set(run(main))) > 10


def test_the_pauses_begin_anew_after_it_has_worked_for_a_while() -> None:
    async def main() -> list[float]:
        pauses, found = Pauses(STEADY), []
        for worked_s in (0.0, 0.0, 7.9, 8.1, 0.0):
            await asyncio.sleep(worked_s)
            began = now()
            await pauses.wait()
            found.append(now() - began)
        return found

    assert run(main) == pytest.approx([1, 2, 4, 1, 2])


# --- attempts ----------------------------------------------------------------------------------------------------


def test_attempts_end_at_their_limit_without_a_pause_behind_the_last() -> None:
    async def main() -> tuple[list[int], float]:
        return [number async for number in Attempts(STEADY, limit=3)], now()

    assert run(main) == ([1, 2, 3], 3.0)


def test_no_attempt_begins_after_the_timeout() -> None:
    async def main() -> list[float]:
        return [now() async for _ in Attempts(STEADY, timeout_s=7.0)]

    assert run(main) == [0, 1, 3, 7]


# --- retrying ----------------------------------------------------------------------------------------------------


class Flaky:
    """Fails with these errors, one at each call, then returns `done`."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.called_at: list[float] = []

    async def __call__(self) -> str:
        self.called_at.append(now())
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_an_action_is_repeated_until_it_succeeds_and_each_repetition_is_logged() -> None:
    flaky = Flaky(Lost("first"), Lost("second"))

    async def main() -> str:
        return await retrying(flaky, on=Lost, what="a test", backoff=STEADY, number=7)

    with capture_logs() as lines:
        assert run(main) == "done"
    assert flaky.called_at == [0, 1, 3]
    assert [(line["what"], line["attempt"], line["cause"], line["number"]) for line in lines] == [
        ("a test", 1, "first", 7),
        ("a test", 2, "second", 7),
    ]


@pytest.mark.parametrize("error", [Final("no"), ValueError("a mistake of ours")])
def test_a_final_error_and_any_other_end_it_at_once(error: Exception) -> None:
    flaky = Flaky(Lost(), error)

    async def main() -> str:
        return await retrying(flaky, on=Lost, unless=Final, what="a test", backoff=STEADY)

    with pytest.raises(type(error)) as raised:
        run(main)
    assert raised.value is error
    assert flaky.called_at == [0, 1]


def test_the_error_of_the_last_attempt_is_raised() -> None:
    flaky = Flaky(Lost("1"), Lost("2"), Lost("3"), Lost("4"))

    async def main() -> str:
        return await retrying(flaky, on=Lost, what="a test", backoff=STEADY, limit=3)

    with pytest.raises(Lost, match="3"):
        run(main)
    assert flaky.called_at == [0, 1, 3]


# --- watches -----------------------------------------------------------------------------------------------------


def test_a_watch_is_begun_again_when_it_fails_and_when_it_ends() -> None:
    flaky = Flaky(Lost("gone"))

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(6.5):
                await keep_watching(flaky, on=Lost, what="a bucket", backoff=STEADY, bucket="keys")

    with capture_logs() as lines:
        run(main)
    assert flaky.called_at == [0, 1, 3]
    assert [(line["what"], line["cause"], line["bucket"]) for line in lines] == [("a bucket", "gone", "keys")]


def test_another_error_ends_a_watch() -> None:
    async def main() -> None:
        await keep_watching(Flaky(Lost(), ValueError("a mistake of ours")), on=Lost, what="a bucket")

    with pytest.raises(ValueError, match="a mistake of ours"):
        run(main)
