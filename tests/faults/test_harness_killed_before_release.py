"""A harness dies when all is done, before it lets the session go; so does the next."""

from tests.faults.conftest import Start
from tests.support.workload import at, through_kills


async def test_the_turn_ends_once(start: Start) -> None:
    armed = at("before_release")
    await through_kills(start(faults=armed), armed)
