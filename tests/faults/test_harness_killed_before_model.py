"""A harness dies between announcing a model request and sending it; so does the next."""

from tests.faults.conftest import Start
from tests.support.workload import fault_at, workload_survives_kills


async def test_the_request_is_made_once_by_who_survives(start: Start) -> None:
    armed = fault_at("before_model")
    await workload_survives_kills(start(faults=armed), armed)
