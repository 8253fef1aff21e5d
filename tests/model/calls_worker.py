"""The workers in the model of tool calls (rules 13, 14, 16 and 17). Pure."""

from collections.abc import Iterator

from tests.model.calls_state import Item, Look, Rules, State, generations_of, posted, with_box, with_knowledge
from tests.model.explore import Step
from tests.model.scenario import replaced

Steps = Iterator[Step[State]]


class WorkerSteps:
    """What requests under way, workers and the watch over dead workers may do next."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def steps(self, state: State) -> Steps:
        yield from self._requests(state)
        yield from self._confirms(state)
        for generation in range(1, len(state.boxes) + 1):
            if state.boxes[generation - 1].state in ("live", "lapsed"):
                yield from self._run(state, generation)
            yield from self._live_and_die(state, generation)
        if self.rules.watcher:
            for slot in range(len(state.placements)):
                yield from self._watch(state, slot)

    # --- requests (rule 13) --------------------------------------------------------------------------------------

    def _requests(self, state: State) -> Steps:
        for call, generation in sorted(state.wire):
            rest = state._replace(wire=state.wire - {(call, generation)})
            if self.rules.wire:
                yield Step(f"the request for call {call} is lost", "fault", rest)
            if state.boxes[generation - 1].state != "live":
                yield Step(f"the request for call {call} finds no generation {generation}", "step", rest)
            else:
                yield from self._execute(rest, call, generation)

    def _execute(self, state: State, call: int, generation: int) -> Steps:
        """A request of which nothing is under way any more. Its answer may be lost, and it may come again."""
        knows = state.boxes[generation - 1].knows[call]
        done, answer, violation = state, {"refused": "refused", "answered": "result"}.get(knows, "ok"), None
        if not knows:
            runs = state.runs[call] + 1
            if runs > 1:
                violation = "(3) a call runs twice"
            elif state.calls[call].state == "done":
                violation = "(3) a call starts after it was closed"
            phase, answer = ("window", "") if self.rules.window else ("runs", "ok")
            boxes = with_knowledge(state, generation, call, phase)
            done = state._replace(boxes=boxes, runs=replaced(state.runs, call, runs))
        label = f"generation {generation} is asked for call {call} -> {answer or 'runs it'}"
        yield Step(label, "step", _answered(done, call, answer), violation)
        if self.rules.wire:
            yield Step(f"{label}, answer lost", "fault", done, violation)
            again = _answered(done, call, answer)._replace(wire=state.wire | {(call, generation)})
            yield Step(f"{label}, the request comes again", "fault", again, violation)

    def _confirms(self, state: State) -> Steps:
        for call, generation in sorted(state.confirms):
            rest = state._replace(confirms=state.confirms - {(call, generation)})
            if self.rules.wire:
                yield Step(f"the confirmation of call {call} is lost", "fault", rest)
            box = state.boxes[generation - 1]
            if box.state in ("live", "lapsed") and box.knows[call] == "answered":
                rest = rest._replace(boxes=with_knowledge(state, generation, call, self._delivered()))
            yield Step(f"the confirmation of call {call} arrives", "step", rest)

    # --- running (rules 13 and 14) -------------------------------------------------------------------------------

    def _run(self, state: State, generation: int) -> Steps:
        for call, knows in enumerate(state.boxes[generation - 1].knows):
            if knows == "window":
                yield from self._end_of_window(state, generation, call)
            elif knows == "runs" or (knows == "answered" and self.rules.fallback):
                inbox = posted(state, Item("result", call, generation))
                boxes = with_knowledge(state, generation, call, self._delivered())
                label = f"generation {generation} publishes the result of call {call} ({knows})"
                yield Step(label, "step", state._replace(inbox=inbox, boxes=boxes))

    def _end_of_window(self, state: State, generation: int, call: int) -> Steps:
        for phase, answer in (("answered", "result"), ("runs", "ok")):
            after = state._replace(boxes=with_knowledge(state, generation, call, phase))
            label = f"call {call} in the window of generation {generation} -> {answer}"
            yield Step(label, "step", _answered(after, call, answer))
            if self.rules.wire:
                yield Step(f"{label}, answer lost", "fault", after)

    def _delivered(self) -> str:
        return "known" if self.rules.remembers else ""

    # --- life and death (rule 16) --------------------------------------------------------------------------------

    def _live_and_die(self, state: State, generation: int) -> Steps:
        box, rules = state.boxes[generation - 1], self.rules
        ended = with_box(state, generation, state="dead", knows=("",) * rules.calls)
        if box.state in ("live", "lapsed") and rules.deaths:
            yield Step(f"the worker of generation {generation} dies", "fault", state._replace(boxes=ended))
        if box.state == "live" and box.registered == "yes" and rules.lapses:
            if rules.lease:
                lapsed = state._replace(boxes=with_box(state, generation, state="lapsed"))
                yield Step(f"the lease of generation {generation} runs out, no more calls", "fault", lapsed)
            else:
                expired = state._replace(boxes=with_box(state, generation, registered="no"))
                yield Step(f"the registration of generation {generation} expires unnoticed", "fault", expired)
        if box.state == "lapsed" or (box.state == "live" and box.registered == "no"):
            yield Step(f"the worker ends generation {generation}", "step", state._replace(boxes=ended))
        if box.state == "dead" and box.registered == "yes":
            yield self._expire(state, generation)
            if rules.worker_ids == "kept":
                again = state._replace(boxes=with_box(state, generation, registered="again"))
                yield Step(f"the worker of generation {generation} starts again under its old id", "fault", again)
        if rules.placement == "after" and box.state == "live":
            hand = next(h for h in range(rules.hands) if generation in generations_of(rules, h))
            if state.placements[hand] != generation:
                placed = state._replace(placements=replaced(state.placements, hand, generation))
                yield Step(f"the placement of generation {generation} is stored", "step", placed)

    def _expire(self, state: State, generation: int) -> Step[State]:
        placements = state.placements
        if self.rules.placements == "expire":
            placements = tuple(0 if g == generation else g for g in placements)
        boxes = with_box(state, generation, registered="no")
        after = state._replace(boxes=boxes, placements=placements)
        return Step(f"the registration of generation {generation} expires", "step", after)

    # --- dead workers (rule 17) ----------------------------------------------------------------------------------

    def _watch(self, state: State, slot: int) -> Steps:
        generation, look = state.placements[slot], state.looks[slot]
        if look is None:
            if generation and self._may_look(state, generation):
                after = state._replace(looks=replaced(state.looks, slot, Look(generation)))
                yield Step(f"a worker finds generation {generation} dead", "step", after)
            return
        if self.rules.crashes:
            yield Step("that worker dies", "fault", state._replace(looks=replaced(state.looks, slot, None)))
        if not look.reported and self.rules.reports:
            looks = replaced(state.looks, slot, look._replace(reported=True))
            after = state._replace(looks=looks, inbox=posted(state, Item("gone", 0, look.generation)))
            yield Step(f"it reports that generation {look.generation} is gone", "step", after)
        elif self.rules.looks == "expired" or state.boxes[look.generation - 1].registered == "no":
            is_same = generation == look.generation
            placements = state.placements
            if is_same or self.rules.emptied == "always":
                placements = replaced(placements, slot, 0)
            after = state._replace(looks=replaced(state.looks, slot, None), placements=placements)
            yield Step(
                f"it empties the placement of generation {look.generation} if compared: {is_same}", "step", after
            )

    def _may_look(self, state: State, generation: int) -> bool:
        return self.rules.looks == "early" or state.boxes[generation - 1].registered == "no"


def _answered(state: State, call: int, answer: str) -> State:
    """The owner hears an answer to a request if it waits for one."""
    if not answer or state.owner is None or state.owner[call] != "sent":
        return state
    return state._replace(owner=replaced(state.owner, call, answer))
