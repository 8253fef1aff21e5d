"""A harness dies when all is done, before it lets the session go; so does the next."""

from tests.faults.conftest import Start
from tests.support.workload import fault_at, workload_survives_kills


async def test_the_turn_ends_once(start: Start) -> None:
    armed = fault_at("before_release")
    await workload_survives_kills(start(faults=armed), armed)
