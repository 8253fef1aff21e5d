"""A harness dies between writing a tool call down and sending it to a sandbox; so does the next."""

from tests.faults.conftest import Start
from tests.support.workload import at, through_kills


async def test_the_call_is_sent_by_who_survives(start: Start) -> None:
    armed = at("response_appended")
    await through_kills(start(faults=armed), armed)
