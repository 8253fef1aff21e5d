"""A harness dies when the sandbox has accepted a call; so does the next. The call runs on, once."""

from tests.faults.conftest import Start
from tests.support.workload import at, through_kills


async def test_the_call_runs_once_and_its_result_is_taken(start: Start) -> None:
    armed = at("calls_sent")
    await through_kills(start(faults=armed), armed)
