"""A harness dies right after it has claimed a session, before it did anything; so does the next."""

from tests.faults.conftest import Start
from tests.support.workload import at, through_kills


async def test_another_takes_the_claim_over(start: Start) -> None:
    armed = at("claimed")
    await through_kills(start(faults=armed), armed)
