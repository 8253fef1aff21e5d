"""Ordinary sessions beside hostile ones keep their shells, their sandboxes and their events; nothing is started again.

How long their tool steps take is measured by `python -m tests.faults.hostile`, alone on a machine.
"""

from tests.faults.conftest import Start
from tests.faults.hostile import Hostile

FLOOR_S = 2.0
SECONDS = 30.0
SEED = 20261127


async def test_ordinary_sessions_go_on_beside_hostile_ones(start: Start) -> None:
    storm = Hostile(stack=start(), seed=SEED, neighbours=2, attackers=3)
    await storm.run(FLOOR_S, SECONDS)
    assert not storm.complaints
    assert len(storm.attacks) >= storm.attackers
    assert storm.sessions >= 2 * storm.neighbours, "each neighbour was checked without and with attacks"
