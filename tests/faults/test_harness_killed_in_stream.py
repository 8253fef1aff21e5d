"""A harness dies while the model answers; so does the next. Nothing of the torn answers stays."""

from tests.faults.conftest import Start
from tests.support.workload import REQUESTS, at, through_kills


async def test_the_answer_is_asked_for_again(start: Start) -> None:
    armed = at("in_stream")
    await through_kills(start(faults=armed), armed, requests=REQUESTS + 2)
