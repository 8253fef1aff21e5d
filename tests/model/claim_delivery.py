"""From a delivery to a claim in the model of claims (rules 1 to 4 and 21). Pure."""

from collections.abc import Iterator

from tests.model.claim_state import (
    IDLE,
    POISON,
    Append,
    Head,
    Moves,
    Replica,
    Rules,
    State,
    after_release,
    horizons,
    is_poisonous,
    unsure_release,
)
from tests.model.explore import Kind, Step
from tests.model.scenario import replaced


class DeliverySteps:
    """What a replica does with a delivery until it has the claim, or not."""

    def __init__(self, rules: Rules, moves: Moves) -> None:
        self.rules = rules
        self.moves = moves
        self._counted = rules.max_deliver or (2 if rules.claim_first or rules.warm else 0)
        """Deliveries of a message are counted up to this number."""

    def idle(self, state: State, index: int, replica: Replica) -> Iterator[Step[State]]:
        limit = self.rules.max_deliver
        for seq in range(1, state.stored + 1):
            count = state.counts[seq - 1]
            if state.inbox[seq - 1] != "ready" or (limit and count >= limit):
                continue
            held = state._replace(
                inbox=replaced(state.inbox, seq - 1, "held"),
                counts=replaced(state.counts, seq - 1, min(count + 1, self._counted)),
            )
            if replica.does == "warm" and count == 0 and (claim := self._warm_claim(state, replica, seq)):
                label = f"R{index} is delivered {seq}, claims at once, its knowledge is fresh: {replica.fresh}"
                yield Step(label, "step", self.moves.moved(held, index, claim))
            else:
                after = self.moves.moved(held, index, Replica("read", seq))
                yield Step(f"R{index} is delivered {seq}", "step", after)
        if self.rules.notice == "claim" and state.head.trigger:
            yield from self._notice(state, index)

    def _warm_claim(self, state: State, replica: Replica, seq: int) -> Replica | None:
        """The claim of a warm replica; None if inputs may wait before its trigger. Stale knowledge is refused."""
        if replica.fresh and seq <= state.head.taken:
            return None
        if replica.fresh and seq > state.head.taken + 1 and self.rules.contiguous:
            return None
        return Replica("claim", seq, seq if replica.fresh else 0, fresh=replica.fresh, how="alone")

    def _notice(self, state: State, index: int) -> Iterator[Step[State]]:
        """Rule 21 in the variant that claims: the claim is made with the dead replica's trigger."""
        is_alive = any(r.mine for r in state.replicas)
        if is_alive and not self.rules.false_notices:
            return
        trigger = state.head.trigger
        claim = Replica("claim", trigger, state.head.taken, fresh=True, how="notice")
        label = f"R{index} hears that the owner is dead (true: {not is_alive})"
        yield Step(label, kind_if(is_alive, "fault", "step"), self.moves.moved(state, index, claim))

    def read(self, state: State, index: int, replica: Replica) -> Iterator[Step[State]]:
        """Rule 1, from the leader or a follower that lags."""
        seq = replica.trigger
        heads = [("leader", (state.head.taken, state.head.trigger), True)]
        if not state.current:
            heads.append(("follower", state.follower, False))
        for source, head, fresh in heads:
            pages = range(state.head.taken, seq) if self.rules.pages else ()
            for upto in (*pages, *horizons(self.rules, state, seq)):
                decided = self._decide(state, head, seq, upto, fresh=fresh)
                after = self.moves.moved(state, index, decided)
                yield Step(f"R{index} reads the head ({source}) for {seq} -> {decided.does}", "step", after)

    def _decide(self, state: State, head: tuple[int, int], seq: int, upto: int, *, fresh: bool) -> Replica:
        """Rules 2 to 4, given a head of any age and how far the inbox was read."""
        taken, trigger = head
        if state.head.archived and self.rules.archived == "ack":
            return Replica("ack", seq)
        if trigger == seq and self.rules.done == "taken" and seq <= taken:
            return Replica("ack", seq)
        if trigger == seq or (not trigger and seq > taken):
            alone = self.rules.take == "trigger"
            last = seq if alone else upto
            if self.rules.claim_first and state.counts[seq - 1] > 1:
                last = 0
            return Replica("claim", seq, last if fresh else 0, fresh=fresh, how="alone" if alone else "")
        if seq <= taken or self.rules.foreign == "ack":
            return Replica("ack", seq)
        takes_over = fresh and self.rules.takeover_of_standing
        return Replica("nak", seq, upto if takes_over else 0, fresh=takes_over)

    def claim(self, state: State, index: int, replica: Replica) -> Iterator[Step[State]]:
        """Rule 4: append the claim."""
        if not replica.fresh:
            yield from self._refused_claim(state, index, replica)
        elif self.rules.parse_kills and is_poisonous(self.rules, state, replica.upto):
            yield Step(f"R{index} dies of the poison before its claim", "step", self.moves.moved(state, index, IDLE))
        else:
            yield from self._accepted_claim(state, index, replica)

    def _accepted_claim(self, state: State, index: int, replica: Replica) -> Iterator[Step[State]]:
        head, seq, rules = state.head, replica.trigger, self.rules
        is_takeover = head.trigger == seq
        failures = head.failures + 1 if is_takeover and rules.attempts else 0
        last = max(replica.upto, head.taken)
        label = f"R{index} claims with {seq}, takes up to {last}" + (" (takeover)" if is_takeover else "")
        work = (
            POISON
            if head.work == POISON or is_poisonous(self.rules, state, last)
            else int(head.work or last > head.taken)
        )
        new = Head(last, seq, work, failures, head.archived)
        after = Replica("own", seq, fresh=True, mine=True, how=replica.how if replica.how == "notice" else "")
        violation = None
        if replica.how == "alone" and last > head.taken + 1:
            violation = "(1) an input was skipped"
        if is_takeover and rules.no_bounce and any(r.mine for r in state.replicas):
            violation = "(b) a live owner is taken over"
        if rules.attempts and failures > rules.attempts:
            label = f"R{index} closes the turn of {seq} with session.error"
            violation = "(e) a turn was closed with session.error" if rules.no_error else violation
            keeps = rules.at_limit == "keep"
            new = Head(max(head.taken, seq), seq if keeps else 0, 0, 0, head.archived)
            after = after if keeps else after_release(self.rules, replica, fresh=True)
        yield Step(label, "step", self.moves.wrote(state, index, after, new, claims=True), violation)
        if rules.lost:
            unsure = Replica("unsure", seq, fresh=True, mine=True) if new.trigger else unsure_release(replica)
            lost = self.moves.wrote(state, index, unsure, new, claims=True)
            yield Step(f"{label}, answer lost", "fault", lost, violation)
        if rules.late and not state.flying:
            read = self.moves.moved(state, index, Replica("read", seq), flying=Append("claim", new, claims=True))
            yield Step(f"{label}, delayed", "fault", read)

    def _refused_claim(self, state: State, index: int, replica: Replica) -> Iterator[Step[State]]:
        seq, head = replica.trigger, state.head
        if replica.how == "notice" or self.rules.refused == "drop":
            decided = IDLE
        elif self.rules.refused == "same":
            decided = replica
        else:
            decided = self._decide(state, (head.taken, head.trigger), seq, state.stored, fresh=True)
        after = self.moves.moved(state, index, decided)
        yield Step(f"R{index}'s claim with {seq} is refused -> {decided.does}", "step", after)

    def nak(self, state: State, index: int, replica: Replica) -> Iterator[Step[State]]:
        """Rule 3. A takeover is safe at any time, so the clock may be wrong; it is needed only after a loss."""
        seq = replica.trigger
        if replica.fresh:
            after = Replica("claim", seq, replica.upto, fresh=True)
            label = f"R{index} finds that the claim by {state.head.trigger} has stood still"
            yield Step(label, kind_if(self.rules.vanish, "step", "fault"), self.moves.moved(state, index, after))
        inbox = state.inbox
        if inbox[seq - 1] == "held":
            inbox = replaced(inbox, seq - 1, "ready")
        yield Step(f"R{index} NAKs {seq} with a delay", "wait", self.moves.moved(state, index, IDLE, inbox=inbox))


def kind_if(condition: object, kind: Kind, otherwise: Kind) -> Kind:
    """A kind of step that depends on a condition."""
    return kind if condition else otherwise
