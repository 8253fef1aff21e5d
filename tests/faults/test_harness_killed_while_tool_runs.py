"""A harness dies when the sandbox has accepted a call; so does the next. The call runs on, once."""

from tests.faults.conftest import Start
from tests.support.workload import fault_at, workload_survives_kills


async def test_the_call_runs_once_and_its_result_is_taken(start: Start) -> None:
    armed = fault_at("dispatched")
    await workload_survives_kills(start(faults=armed), armed)
