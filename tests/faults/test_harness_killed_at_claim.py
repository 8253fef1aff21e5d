"""A harness dies right after it has claimed a session, before it did anything; so does the next."""

from tests.faults.conftest import Start
from tests.support.workload import fault_at, workload_survives_kills


async def test_another_takes_the_claim_over(start: Start) -> None:
    armed = fault_at("claimed")
    await workload_survives_kills(start(faults=armed), armed)
