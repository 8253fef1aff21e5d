"""How replicas of the harness take inputs, claim one session, drive it and let go (rules 1 to 11, 20 and 21). Pure."""

from collections.abc import Iterator
from typing import Any

from tests.model.claim_replica import ReplicaSteps
from tests.model.claim_state import IDLE, Moves, Replica, Rules, State
from tests.model.explore import Step, Verdict
from tests.model.scenario import Scenario, replaced


class ClaimModel:
    """One session: its inbox, its log, one lagging follower of the log, and the replicas."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._moves = Moves(rules)
        self._replica = ReplicaSteps(rules, self._moves)

    def initial(self) -> State:
        rules, top = self.rules, self.rules.inputs + self.rules.nudges
        replica = Replica("warm", fresh=True) if rules.warm else IDLE
        return State(("-",) * top, (0,) * top, (replica,) * rules.replicas, nudges=rules.nudges)

    def is_good(self, state: State) -> bool:
        return state.head.taken == state.stored and not state.head.trigger and not state.head.work

    def violation(self, state: State) -> str | None:
        head = state.head
        if any(state.inbox[seq - 1] == "gone" for seq in range(head.taken + 1, state.stored + 1)):
            return "(1) an input was removed before it was taken"
        if head.trigger and state.inbox[head.trigger - 1] == "gone" and not self.rules.vanish:
            return "(4) the trigger of an open claim will never be delivered again"
        return None

    def steps(self, state: State) -> Iterator[Step[State]]:
        yield from self._world(state)
        yield from self._deliveries(state)
        for index, replica in enumerate(state.replicas):
            if not index or state.replicas[index - 1] != replica:
                yield from self._replica.steps(state, index, replica)

    # --- the world -----------------------------------------------------------------------------------------------

    def _world(self, state: State) -> Iterator[Step[State]]:
        rules, head = self.rules, state.head
        if state.stored - (rules.nudges - state.nudges) < rules.inputs:
            after = state._replace(stored=state.stored + 1, inbox=replaced(state.inbox, state.stored, "ready"))
            yield Step(f"input {state.stored + 1} is stored", "fault", after)
        if not state.current:
            after = state._replace(follower=(head.taken, head.trigger), current=True)
            yield Step("the follower of the log catches up", "step", after)
        if rules.updates:
            yield Step("the session service appends an update", "fault", self._moves.appended(state, head))
        if rules.archive and not head.trigger and not head.archived:
            after = self._moves.appended(state, head._replace(archived=True))
            yield Step("the session service archives", "fault", after)
        if state.flying:
            after = self._moves.appended(state, state.flying.head, claims=state.flying.claims)
            yield Step(f"the delayed {state.flying.name} lands", "fault", after)
        if rules.vanish:
            yield from self._vanish(state)

    def _vanish(self, state: State) -> Iterator[Step[State]]:
        """An operator's purge, and the sweeper (rule 20)."""
        trigger = state.head.trigger
        if not trigger or not state.nudges:
            return
        if state.inbox[trigger - 1] != "gone":
            if not any(r.trigger == trigger for r in state.replicas):
                after = state._replace(inbox=replaced(state.inbox, trigger - 1, "gone"))
                yield Step(f"the message of trigger {trigger} vanishes", "fault", after)
        elif state.head.taken == state.stored:
            yield Step("the sweeper sees an old claim, publishes a nudge", "step", self._moves.put_nudge(state))

    def _deliveries(self, state: State) -> Iterator[Step[State]]:
        """Messages that become ready to be delivered again."""
        for seq in range(1, state.stored + 1):
            if state.inbox[seq - 1] != "held":
                continue
            after = state._replace(inbox=replaced(state.inbox, seq - 1, "ready"))
            if not any(r.trigger == seq and r.how != "notice" for r in state.replicas):
                yield Step(f"ack_wait of {seq} passes, nobody holds it", "step", after)
            elif self.rules.slow:
                yield Step(f"{seq} is redelivered, its holder lives but is slow or reported dead", "fault", after)


def _scenario(name: str, rule: str, verdict: Verdict = "holds", what: str = "", **rules: Any) -> Scenario:
    return Scenario(
        name=f"claim: {name}", rule=rule, model=lambda: ClaimModel(Rules(**rules)), verdict=verdict, what=what
    )


_ALL: dict[str, Any] = {"updates": True, "lost": True, "late": True, "stale_log": True, "stale_inbox": True}
_CALM: dict[str, Any] = {"crashes": False, "slow": False}
_NAMED: dict[str, Any] = {"anonymous": False, "takeover_of_standing": False}
_POISON: dict[str, Any] = {"inputs": 1, "poison": 1, **_CALM, **_NAMED}
_DEADLY: dict[str, Any] = {"parse_kills": True, "claim_first": True}
_NOTICE: dict[str, Any] = {"notice": "claim", "slow": False}

SCENARIOS = [
    _scenario("1 input, 3 replicas, all faults", "1-11", inputs=1, replicas=3, **_ALL),
    _scenario("2 inputs, 2 replicas, crashes, slow owners, lost answers, updates", "1-11", lost=True, updates=True),
    _scenario("2 inputs, 2 replicas, late appends", "1-11", late=True),
    _scenario("2 inputs, 2 replicas, stale reads", "1-11", stale_log=True, stale_inbox=True),
    _scenario("a nudge after the release", "11", recheck="nudge", nudges=1),
    _scenario("archived session", "5", inputs=1, archive=True, lost=True, stale_log=True),
    _scenario("the second input is poison", "4", poison=2, lost=True),
    _scenario("the second input kills as it is read", "4", poison=2, lost=True, **_DEADLY),
    _scenario("the trigger of an open claim vanishes", "3, 20", nudges=1, vanish=True, slow=False, lost=True),
    _scenario("what waits is taken in several commits", "4, 5", pages=True, lost=True, updates=True),
    _scenario("taken in several commits, stale reads", "4, 5", pages=True, stale_log=True, stale_inbox=True),
    _scenario("taken in several commits, the second input kills as it is read", "4, 5", pages=True, poison=2,
              lost=True, **_DEADLY),
    _scenario("let go before the trigger is taken", "8", "broken", "(1)", pages=True, until_trigger=False,
              stale_inbox=True, claim_first=True, **_NAMED),
    _scenario("claim again with the old trigger", "11", "broken", "(4)", recheck="same", **_NAMED),
    _scenario("take the trigger alone", "4", "broken", "(1)", take="trigger", **_NAMED),
    _scenario("look only for foreign claims", "7", "broken", "(2)", lost=True, unsure="claim", **_NAMED),
    _scenario("claims known by the replica's name", "7", "broken", "(2)", fence="name", **_NAMED),
    _scenario("three deliveries at most", "consumer", "stuck", max_deliver=3, slow=False, **_NAMED),
    _scenario("ack under a foreign claim", "3", "broken", "(1)", foreign="ack", **_NAMED),
    _scenario("ack of the open claim's trigger", "2", "broken", "(4)", done="taken", **_NAMED),
    _scenario("ack for an archived session", "5", "broken", "(1)", inputs=1, archive=True, archived="ack", **_NAMED),
    _scenario("no takeover of a claim that stands still", "3", "stuck", inputs=1, nudges=1, vanish=True, **_NAMED),
    _scenario("takeovers are not counted", "4", "stuck", attempts=0, **_POISON),
    _scenario("bodies are read before the claim", "4", "stuck", parse_kills=True, **_POISON),
    _scenario("the error at the limit keeps the claim", "4", "stuck", poison=2, at_limit="keep", attempts=1, **_DEADLY,
              **_CALM, **_NAMED),
    _scenario("the loser of a race drops its delivery", "4", "livelock", refused="drop", inputs=1, slow=False,
              stale_log=True, **_NAMED),
    # C2: claims by what a replica knows of a session that it released
    _scenario("warm: 2 inputs, 2 replicas", "4", warm=True, lost=True, updates=True),
    _scenario("warm: 1 input, 2 replicas, all faults", "4", warm=True, inputs=1, **_ALL),
    _scenario("warm: poison", "4", warm=True, poison=2, claim_first=True, parse_kills=True, **_NAMED),
    _scenario("warm: older inputs are not known", "4", "broken", "(1)", warm=True, contiguous=False, **_NAMED),
    _scenario("warm: refused, the old knowledge is used again", "4", "stuck", inputs=1, warm=True, refused="same",
              **_NAMED),
    # C4: notice of a death
    _scenario("notice has the delivery repeated, also a false one", "21", slow=True, lost=True, inputs=1, replicas=3),
    _scenario("notice has it repeated: no live owner is taken over", "21", slow=False, no_bounce=True),
    _scenario("notice claims, also a false one", "21", **_NOTICE, false_notices=True, lost=True),
    _scenario("notice claims: its live owner is taken over at ack_wait", "21", "broken", "(b)", **_NOTICE,
              no_bounce=True, **_NAMED),
    _scenario("three false notices close a turn", "21", "broken", "(e)", crashes=False, slow=True, no_error=True,
              **_NAMED),
]  # fmt: skip

BIG = [
    _scenario("warm: 1 input, 3 replicas, all faults", "4", warm=True, inputs=1, replicas=3, **_ALL),
    _scenario("2 inputs, 2 replicas, late appends, stale reads", "1-11", late=True, stale_log=True, stale_inbox=True),
    _scenario("archived session, 2 inputs", "5", archive=True, lost=True, stale_log=True),
    _scenario("2 inputs, 2 replicas, all faults", "1-11", **_ALL),
    _scenario("3 inputs, 2 replicas, all faults", "1-11", inputs=3, **_ALL),
    _scenario("2 inputs, 3 replicas, all faults", "1-11", replicas=3, **_ALL),
    _scenario("3 inputs, 3 replicas, lost answers, updates", "1-11", inputs=3, replicas=3, lost=True, updates=True,
              attempts=1),
    _scenario("warm: 2 inputs, 2 replicas, all faults", "4", warm=True, **_ALL),
    _scenario("notice claims: 2 inputs, 3 replicas, false ones too", "21", replicas=3, **_NOTICE, false_notices=True,
              lost=True),
]  # fmt: skip
