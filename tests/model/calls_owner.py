"""The owner of a session in the model of tool calls (rules 5, 8, 12, 15 and 18). Pure."""

from collections.abc import Iterator

from tests.model.calls_state import (
    Call,
    Item,
    Rules,
    State,
    generations_of,
    hand_of_call,
    is_gone,
    slot_of,
    with_box,
    with_knowledge,
)
from tests.model.explore import Step
from tests.model.scenario import replaced

Steps = Iterator[Step[State]]
Knowledge = tuple[str, ...]


class OwnerSteps:
    """What the owner, or the replica that becomes it, may do next."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def steps(self, state: State) -> Steps:
        if state.owner is None:
            if state.claim or state.inbox:
                after = state._replace(claim=True, owner=("",) * self.rules.calls)
                yield Step("a replica claims the session, or takes the claim over", "step", after)
            return
        if self.rules.crashes:
            yield Step("the owner crashes", "fault", state._replace(owner=None))
        yield from self._take_answers(state, state.owner)
        if state.inbox:
            yield from self._take_input(state, state.owner, state.inbox[0])
        else:
            yield from self._make_calls(state)
            yield from self._provide(state)
            yield from self._send(state, state.owner)
            yield from self._let_go(state, state.owner)

    # --- results and interrupts ----------------------------------------------------------------------------------

    def _take_answers(self, state: State, owner: Knowledge) -> Steps:
        """Rule 13: append the result of an answer, then confirm it."""
        for call, knows in enumerate(owner):
            generation = state.calls[call].generation
            confirm = state.confirms | {(call, generation)}
            if knows == "result" and state.calls[call].state == "open":
                after = state._replace(calls=_closed(state, [call]), confirms=confirm, owner=replaced(owner, call, ""))
                if self.rules.confirm == "before":
                    early = state._replace(owner=replaced(owner, call, "confirmed"), confirms=confirm)
                    yield Step(f"the owner confirms the result of call {call}", "step", early)
                else:
                    yield Step(f"the owner appends the result of call {call}, confirms it", "step", after)
            elif knows == "confirmed":
                after = state._replace(calls=_closed(state, [call]), owner=replaced(owner, call, ""))
                yield Step(f"the owner appends the result of call {call}", "step", after)
            elif knows == "result":
                after = state._replace(owner=replaced(owner, call, ""))
                yield Step(f"the owner drops the result of call {call}: not open", "step", after)

    def _take_input(self, state: State, owner: Knowledge, item: Item) -> Steps:
        if item.kind == "interrupt":
            yield self._interrupt(state)
            return
        if item.kind == "gone":
            yield self._take_gone(state._replace(inbox=state.inbox[1:]), item.generation)
            return
        rest, call = state._replace(inbox=state.inbox[1:]), item.call
        is_open = state.calls[call].state == "open"
        text = f"the {item.kind} of call {call} from generation {item.generation}"
        if not is_open and self.rules.take == "open":
            yield Step(f"the owner drops {text}: not open", "step", rest)
            return
        after = rest._replace(calls=_closed(state, [call]), owner=replaced(owner, call, ""))
        yield Step(f"the owner takes {text}", "step", after, None if is_open else "(3) a second result of a call")

    def _take_gone(self, state: State, generation: int) -> Step[State]:
        """Rule 17: the log says whether anything is lost with that generation."""
        opened = any(state.calls[c].generation == generation for c in self._open(state))
        if not opened and generation not in state.named:
            return Step(f"the owner drops that generation {generation} is gone", "step", state)
        hand = next(h for h in range(self.rules.hands) if generation in generations_of(self.rules, h))
        return self._lose(state, hand, generation)

    def _interrupt(self, state: State) -> Step[State]:
        """Rule 18, one call after the other; an answer or `gone` is awaited for each."""
        for call, (is_open, generation) in enumerate(state.calls):
            if is_open != "open" or not generation or not self.rules.cancel or is_gone(state, generation):
                continue
            if state.boxes[generation - 1].knows[call] != "refused":
                after = state._replace(boxes=with_knowledge(state, generation, call, "refused"))
                return Step(f"the owner cancels call {call} in generation {generation}", "step", after)
        opened = [c for c, call in enumerate(state.calls) if call.state == "open"]
        after = state._replace(calls=_closed(state, opened), inbox=state.inbox[1:], owner=("",) * self.rules.calls)
        return Step("the owner takes the interrupt, closes all open calls", "step", after)

    # --- calls (rule 12) -----------------------------------------------------------------------------------------

    def _make_calls(self, state: State) -> Steps:
        states = [call.state for call in state.calls]
        if "-" not in states or ("open" in states and not self.rules.parallel):
            return
        call = states.index("-")
        generation = state.named[hand_of_call(self.rules, call)] if self.rules.bind else 0
        after = state._replace(calls=replaced(state.calls, call, Call("open", generation)))
        yield Step(f"the owner appends call {call}, bound to generation {generation or 'none'}", "step", after)

    def _provide(self, state: State) -> Steps:
        """Rules 12 and 15: a generation that is gone is lost with its calls, an unbound call needs a generation."""
        for hand in range(self.rules.hands):
            named = state.named[hand]
            opened = [c for c in self._open(state) if hand_of_call(self.rules, c) == hand]
            bound = [c for c in opened if state.calls[c].generation or (named and not self.rules.bind)]
            generations = sorted({state.calls[c].generation or named for c in bound})
            gone = next((g for g in generations if is_gone(state, g)), 0)
            if gone:
                yield self._lose(state, hand, gone)
            elif len(bound) < len(opened) and not named:
                yield self._new_generation(state, hand)

    def _lose(self, state: State, hand: int, gone: int) -> Step[State]:
        named = replaced(state.named, hand, 0) if state.named[hand] == gone else state.named
        closes = [c for c in self._open(state) if state.calls[c].generation == gone]
        violation = None
        if self.rules.lost_closes == "session":
            closes = self._open(state)
            others = {state.calls[c].generation for c in closes} - {0, gone}
            if any(not is_gone(state, g) for g in others):
                violation = "(f) a call is closed as lost though its generation lives"
        owner = tuple("" if c in closes or not self.rules.bind else k for c, k in enumerate(state.owner or ()))
        after = state._replace(calls=_closed(state, closes), named=named, owner=owner)
        return Step(f"gone: the owner appends that generation {gone} and its calls are lost", "step", after, violation)

    def _new_generation(self, state: State, hand: int) -> Step[State]:
        """Adopt the placement, or have a worker make a sandbox, or close the calls if there are no more to be had."""
        rules, slot = self.rules, slot_of(self.rules, hand)
        boxes = state.boxes
        own = generations_of(rules, hand)
        spare = next((g for g in own if not is_gone(state, g) and not any(boxes[g - 1].knows)), 0)
        if spare and boxes[spare - 1].state == "live":
            calls = tuple(
                Call("open", spare if rules.bind else 0) if self._is_unbound(state, c, hand) else call
                for c, call in enumerate(state.calls)
            )
            after = state._replace(calls=calls, named=replaced(state.named, hand, spare))
            return Step(f"the owner names generation {spare}", "step", after)
        new = next((g for g in own if boxes[g - 1].state == "none"), 0)
        if new:
            is_placed = rules.placement == "before"
            placements = replaced(state.placements, slot, new) if is_placed else state.placements
            after = state._replace(boxes=with_box(state, new, state="live", registered="yes"), placements=placements)
            return Step(f"generation {new} is provisioned, placed: {is_placed}", "step", after)
        unbound = [c for c in self._open(state) if self._is_unbound(state, c, hand)]
        return Step("provisioning fails for good, error results", "step", state._replace(calls=_closed(state, unbound)))

    def _send(self, state: State, owner: Knowledge) -> Steps:
        for call in self._open(state):
            hand = hand_of_call(self.rules, call)
            generation = state.calls[call].generation or (0 if self.rules.bind else state.named[hand])
            knows = owner[call]
            if not generation:
                continue
            again = state._replace(owner=replaced(owner, call, ""))
            if not is_gone(state, generation) and knows == "":
                sent = state._replace(wire=state.wire | {(call, generation)}, owner=replaced(owner, call, "sent"))
                yield Step(f"the owner sends call {call} to generation {generation}", "step", sent)
            elif knows == "sent" and (call, generation) not in state.wire:
                yield Step(f"no answer for call {call}: the owner will ask again", "wait", again)
            elif knows == "refused":
                yield Step(f"call {call} is refused, the interrupt is still to be taken", "wait", again)

    def _let_go(self, state: State, owner: Knowledge) -> Steps:
        """Rule 8."""
        states, opened = [call.state for call in state.calls], self._open(state)
        released = state._replace(claim=False, owner=None)
        if all(s == "done" for s in states):
            yield Step("the owner releases, all calls have results", "step", released)
        elif opened and (not self.rules.parallel or "-" not in states):
            accepted = {"ok"} if self.rules.release == "accepted" else {"ok", "sent"}
            if all(owner[c] in accepted for c in opened):
                yield Step("the owner releases while calls run", "step", released)

    # --- the log -------------------------------------------------------------------------------------------------

    def _open(self, state: State) -> list[int]:
        return [c for c, call in enumerate(state.calls) if call.state == "open"]

    def _is_unbound(self, state: State, call: int, hand: int) -> bool:
        found = state.calls[call]
        return found.state == "open" and not found.generation and hand_of_call(self.rules, call) == hand


def _closed(state: State, calls: list[int]) -> tuple[Call, ...]:
    return tuple(call._replace(state="done") if c in calls else call for c, call in enumerate(state.calls))
