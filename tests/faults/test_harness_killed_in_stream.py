"""A harness dies while the model answers; so does the next. Nothing of the torn answers stays."""

from tests.faults.conftest import Start
from tests.support.workload import REQUESTS, fault_at, workload_survives_kills


async def test_the_answer_is_asked_for_again(start: Start) -> None:
    armed = fault_at("in_stream")
    await workload_survives_kills(start(faults=armed), armed, requests=REQUESTS + 2)
