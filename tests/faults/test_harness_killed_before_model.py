"""A harness dies between announcing a model request and sending it; so does the next."""

from tests.faults.conftest import Start
from tests.support.workload import at, through_kills


async def test_the_request_is_made_once_by_who_survives(start: Start) -> None:
    armed = at("before_model_request")
    await through_kills(start(faults=armed), armed)
