"""The steps of one replica in the model of claims, by what it does next. Pure."""

from collections.abc import Iterator

from tests.model.claim_delivery import DeliverySteps
from tests.model.claim_owner import OwnerSteps
from tests.model.claim_state import APPENDING, IDLE, Moves, Replica, Rules, State
from tests.model.explore import Step


class ReplicaSteps:
    """What a replica may do next."""

    def __init__(self, rules: Rules, moves: Moves) -> None:
        self._crashes = rules.crashes
        self._moves = moves
        delivery, owner = DeliverySteps(rules, moves), OwnerSteps(rules, moves)
        self._by_name = {
            "idle": delivery.idle,
            "warm": delivery.idle,
            "read": delivery.read,
            "claim": delivery.claim,
            "nak": delivery.nak,
            "own": owner.own,
            **dict.fromkeys(APPENDING, owner.append),
            "unsure": owner.unsure,
            "unsure release": owner.unsure_release,
            "look": owner.look,
            "ack": owner.ack,
        }

    def steps(self, state: State, index: int, replica: Replica) -> Iterator[Step[State]]:
        if self._crashes and replica != IDLE:
            label = f"R{index} crashes (next was: {replica.does} {replica.trigger})"
            yield Step(label, "fault", self._moves.moved(state, index, IDLE))
        yield from self._by_name[replica.does](state, index, replica)
