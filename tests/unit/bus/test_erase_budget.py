"""How fast erasing goes, in virtual time."""

import asyncio
from typing import Any

import pytest

from holdfast.bus.jetstream.erase_budget import BURST_S, PAUSE_FACTOR, SHARE, EraseBudget
from tests.simulation import virtual_time

ERASING_S = 0.02


def run(main: Any) -> Any:
    return virtual_time.run(main, lambda _task, _context: None)


async def erase(budget: EraseBudget, messages: int) -> float:
    """The seconds that it takes to erase so many messages."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    for _ in range(messages):
        await asyncio.sleep(ERASING_S)
        await budget.pause(ERASING_S)
    return loop.time() - began_at


def test_a_short_session_is_erased_at_once_and_a_long_one_takes_its_share() -> None:
    async def main() -> None:
        budget = EraseBudget()
        short = int(BURST_S / ERASING_S)
        assert await erase(budget, short) == pytest.approx(BURST_S * (1 + PAUSE_FACTOR), rel=0.05)
        assert await erase(budget, 1000) == pytest.approx(1000 * ERASING_S / SHARE, rel=0.05)

    run(main)


def test_sessions_that_are_erased_side_by_side_share_the_budget() -> None:
    async def main() -> None:
        budget = EraseBudget()
        await erase(budget, int(BURST_S / ERASING_S))
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        await asyncio.gather(*(erase(budget, 100) for _ in range(8)))
        assert loop.time() - began_at == pytest.approx(800 * ERASING_S / SHARE, rel=0.1)

    run(main)


def test_what_was_not_erased_for_long_is_saved_up_to_a_limit() -> None:
    async def main() -> None:
        budget = EraseBudget()
        await erase(budget, int(BURST_S / ERASING_S))
        await asyncio.sleep(10 * BURST_S / SHARE)
        assert await erase(budget, int(2 * BURST_S / ERASING_S)) > BURST_S / SHARE / 2

    run(main)
