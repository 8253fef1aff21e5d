"""From a claim to the ack of its trigger in the model of claims (rules 5 to 11). Pure."""

from collections.abc import Iterator

from tests.model.claim_state import (
    IDLE,
    POISON,
    Append,
    Moves,
    Replica,
    Rules,
    State,
    after_release,
    horizons,
    is_poisonous,
    unsure_release,
    waiting,
)
from tests.model.explore import Step
from tests.model.scenario import replaced


class OwnerSteps:
    """What a replica does that has the claim, or thinks so."""

    def __init__(self, rules: Rules, moves: Moves) -> None:
        self.rules = rules
        self.moves = moves

    def own(self, state: State, index: int, replica: Replica) -> Iterator[Step[State]]:
        """At a boundary: read the inbox, then take, work or release."""
        if not replica.fresh:
            yield self._read_again(state, index, replica, "append is refused")
            return
        head, seq = state.head, replica.trigger
        found = {waiting(state, h) for h in horizons(self.rules, state, head.taken)}
        if self.rules.pages:
            found |= {waiting(state, h) for h in range(head.taken + 1, max(found) + 1)} - {0}
        for upto in sorted(found):
            if upto and self.rules.parse_kills and is_poisonous(self.rules, state, upto):
                yield Step(f"R{index} dies of the poison as it reads it", "step", self.moves.moved(state, index, IDLE))
            elif upto:
                after = replica._replace(does="take", upto=upto)
                yield Step(f"R{index} finds inputs up to {upto}", "step", self.moves.moved(state, index, after))
            elif head.work:
                after = replica._replace(does="work")
                yield Step(f"R{index} finds nothing new, works", "step", self.moves.moved(state, index, after))
            elif head.taken >= seq or not self.rules.until_trigger:
                after = replica._replace(does="release")
                yield Step(f"R{index} finds nothing new, is done", "step", self.moves.moved(state, index, after))

    def append(self, state: State, index: int, replica: Replica) -> Iterator[Step[State]]:
        head, does = state.head, replica.does
        if does == "work" and head.work == POISON and not head.archived:
            yield Step(f"R{index} dies of the poison", "step", self.moves.moved(state, index, IDLE))
            return
        after = replica._replace(does="own", upto=0)
        if does == "take":
            poisonous = head.work == POISON or is_poisonous(self.rules, state, replica.upto)
            new = head._replace(taken=replica.upto, work=POISON if poisonous else 1)
        elif does == "work":
            new = head._replace(work=0, failures=0)
        else:
            new, after = head._replace(trigger=0, failures=0), after_release(self.rules, replica, fresh=True)
            if not self.rules.until_trigger:
                new = new._replace(taken=max(head.taken, replica.trigger))
        owns = replica.mine and head.trigger == replica.trigger
        violation = None if owns else "(2) an append by a replica without the claim"
        if does == "release" and new.taken > head.taken:
            violation = "(1) an input was skipped"
        label = f"R{index} appends: {does} (taken {new.taken})"
        yield Step(label, "step", self.moves.wrote(state, index, after, new), violation)
        if self.rules.lost:
            unsure = unsure_release(replica) if does == "release" else replica._replace(does="unsure", upto=0)
            yield Step(f"{label}, answer lost", "fault", self.moves.wrote(state, index, unsure, new), violation)
        if self.rules.late and not state.flying:
            flying = Append(does, new, claims=does == "release")
            own = replica._replace(does="own", upto=0)
            yield Step(f"{label}, delayed", "fault", self.moves.moved(state, index, own, flying=flying))

    def unsure(self, state: State, index: int, replica: Replica) -> Iterator[Step[State]]:
        yield self._read_again(state, index, replica, "commit is found")

    def _read_again(self, state: State, index: int, replica: Replica, why: str) -> Step[State]:
        """Rule 7: read to the leader's end."""
        owns = replica.mine or (self.rules.fence == "name" and state.head.trigger != 0)
        after = Replica("own", replica.trigger, fresh=True, mine=replica.mine, how=replica.how) if owns else IDLE
        label = f"R{index}'s {why}, still its claim: {owns}"
        return Step(label, "step", self.moves.moved(state, index, after))

    def unsure_release(self, state: State, index: int, replica: Replica) -> Iterator[Step[State]]:
        if self.rules.unsure == "id":
            after = after_release(self.rules, replica, fresh=replica.fresh)
            yield Step(f"R{index} reads again, finds its release", "step", self.moves.moved(state, index, after))
        else:
            own = IDLE if state.head.trigger else Replica("own", replica.trigger, fresh=True, how=replica.how)
            label = f"R{index} reads again, foreign claim: {state.head.trigger != 0}"
            yield Step(label, "step", self.moves.moved(state, index, own))

    # --- the end of a delivery (rules 10 and 11) --------------------------------------------------------------

    def look(self, state: State, index: int, replica: Replica) -> Iterator[Step[State]]:
        seq = replica.trigger
        for upto in sorted({waiting(state, h) for h in horizons(self.rules, state, state.head.taken)}):
            after, decided = state, Replica("ack", seq, fresh=replica.fresh)
            if upto and self.rules.recheck == "same":
                decided = Replica("claim", seq, upto if replica.fresh else 0, fresh=replica.fresh)
            elif upto and state.nudges:
                after = self.moves.put_nudge(state)
            label = f"R{index} looks once more, finds {upto or 'nothing'} -> {decided.does}"
            yield Step(label, "step", self.moves.moved(after, index, decided))

    def ack(self, state: State, index: int, replica: Replica) -> Iterator[Step[State]]:
        seq = replica.trigger
        after = Replica("warm", fresh=replica.fresh) if self.rules.warm else IDLE
        inbox, counts = replaced(state.inbox, seq - 1, "gone"), replaced(state.counts, seq - 1, 0)
        yield Step(f"R{index} acks {seq}", "step", self.moves.moved(state, index, after, inbox=inbox, counts=counts))
