"""A harness dies between taking a tool's result and the next model request; so does the next."""

from tests.faults.conftest import Start
from tests.support.workload import at, through_kills


async def test_the_result_reaches_the_model_once(start: Start) -> None:
    armed = at("result_appended")
    await through_kills(start(faults=armed), armed)
