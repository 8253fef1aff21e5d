"""A harness dies after letting the session go, before it acknowledges the input."""

from tests.faults.conftest import Start
from tests.support.workload import fault_at, workload_survives_kills


async def test_the_input_is_not_taken_again(start: Start) -> None:
    armed = fault_at("released")
    await workload_survives_kills(start(faults=armed), armed, deaths=1)
