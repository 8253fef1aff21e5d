"""Many sessions run while random processes are killed or frozen: nothing is lost and nothing is done twice."""

from tests.faults.conftest import Start
from tests.faults.storm import Storm

SECONDS = 20.0
SEED = 20261121


async def test_a_storm_loses_nothing_and_repeats_nothing(start: Start) -> None:
    storm = Storm(stack=start(), seed=SEED, turns=2)
    await storm.run(SECONDS)
    assert storm.finished >= storm.sessions
    assert storm.blows.total() >= 5
