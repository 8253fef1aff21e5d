"""The rules and the states of the model of tool calls. Pure.

Who drives the session is settled by claim.py. Here there is one owner at a time, which may die (another one follows) or
release the claim while calls are open (an inbox message brings the next one). Requests to a worker and its answers may
be lost, repeated, or arrive after their sender has died. Each generation of a hand lives on a worker of its own and
dies with it. Faults may happen any number of times; hands, generations, calls and interrupts are bounded.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Bounds, faults and rules; the defaults of the rules are the protocol's."""

    hands: int = 1
    calls: int = 1
    """Call c belongs to the hand c modulo `hands`."""
    generations: int = 2
    """Generations that each hand can have."""
    interrupts: int = 0
    parallel: bool = False
    """All calls are open at once, or one after the other."""

    crashes: bool = True
    deaths: bool = True
    wire: bool = True
    """Requests, answers and confirmations are lost, or requests come again."""
    lapses: bool = True
    """A registration is not refreshed in time."""

    window: bool = True
    """A call that ends soon is answered with its result (rule 13); False: each call is accepted at once."""
    fallback: bool = True
    """A result in an answer that is not confirmed is published to the inbox (rule 14)."""
    confirm: Literal["after", "before"] = "after"
    """The owner confirms a result after the append of the result was acknowledged, or before it."""
    bind: bool = True
    """A call belongs to one generation for ever (rule 12)."""
    take: Literal["open", "blindly"] = "open"
    """A result is taken for an open call only (rule 5)."""
    remembers: bool = True
    """A worker knows the ids of finished calls as long as the generation lives (rule 13)."""
    release: Literal["accepted", "sent"] = "accepted"
    """The owner lets go when all open calls are accepted, or sent (rule 8)."""
    cancel: bool = True
    """An interrupt has the call refused for ever before it is closed (rule 18)."""
    lease: bool = True
    """A worker accepts no calls and ends its sandboxes before its registration expires (rule 16)."""
    watcher: bool = True
    """Some worker reports the hands of a dead worker (rule 17)."""
    placement: Literal["before", "after"] = "before"
    """The placement is stored before the worker answers to `provision`, or later (rule 12)."""
    placements: Literal["kept", "expire"] = "kept"
    """Placements outlive the registration of their worker."""
    placed_by: Literal["hand", "session"] = "hand"
    """A placement has a key for each hand, or one for the session."""
    looks: Literal["expired", "early"] = "expired"
    """A worker is reported dead after its registration expired, or before (rule 17)."""
    reports: bool = True
    """A generation is reported gone before its placement is emptied (rule 17)."""
    emptied: Literal["compared", "always"] = "compared"
    """Rule 17 empties the placement only if it still names the dead generation."""
    worker_ids: Literal["new", "kept"] = "new"
    """A worker that starts again has a new id."""
    lost_closes: Literal["generation", "session"] = "generation"
    """The loss of a generation closes its calls, or all calls of the session (rule 15)."""


class Call(NamedTuple):
    """A call in the log: `-` not yet, `open`, `done`; `generation` 0: unbound."""

    state: str = "-"
    generation: int = 0


class Box(NamedTuple):
    """A generation of a hand on its worker.

    `state`: none, live, lapsed (the lease is over), dead. `registered`: no, yes, or `again` under the same id.
    `knows`, for each call: "", `window` (it runs and its requester waits), `runs` (accepted), `answered` (the result
    was given in an answer and is not confirmed), `known` (finished and delivered), `refused`.
    """

    state: str
    registered: str
    knows: tuple[str, ...]


class Look(NamedTuple):
    """A dead generation that rule 17 has found, and whether its session has been told."""

    generation: int
    reported: bool = False


class Item(NamedTuple):
    """A message of the inbox: `interrupt`, `result` of a call, or `gone` of a generation."""

    kind: str
    call: int = 0
    generation: int = 0


class State(NamedTuple):
    """`owner`, for each call what the live owner knows: "", `sent`, `ok` (accepted), `result`, `refused`."""

    calls: tuple[Call, ...]
    named: tuple[int, ...]
    """The generation of each hand in the head; 0: none."""
    boxes: tuple[Box, ...]
    placements: tuple[int, ...]
    looks: tuple[Look | None, ...]
    runs: tuple[int, ...]
    """How often each call was started."""
    interrupts: int
    claim: bool = True
    owner: tuple[str, ...] | None = None
    inbox: tuple[Item, ...] = ()
    wire: frozenset[tuple[int, int]] = frozenset()
    """Requests under way: call, generation."""
    confirms: frozenset[tuple[int, int]] = frozenset()


def initial(rules: Rules) -> State:
    """An open claim without an owner; no call yet."""
    slots = rules.hands if rules.placed_by == "hand" else 1
    box = Box("none", "no", ("",) * rules.calls)
    return State(
        calls=(Call(),) * rules.calls,
        named=(0,) * rules.hands,
        boxes=(box,) * (rules.hands * rules.generations),
        placements=(0,) * slots,
        looks=(None,) * slots,
        runs=(0,) * rules.calls,
        interrupts=rules.interrupts,
    )


def hand_of_call(rules: Rules, call: int) -> int:
    """The hand that a call names."""
    return call % rules.hands


def generations_of(rules: Rules, hand: int) -> range:
    """The generations that a hand may have, from 1."""
    return range(hand * rules.generations + 1, (hand + 1) * rules.generations + 1)


def slot_of(rules: Rules, hand: int) -> int:
    """The index of the hand's placement."""
    return hand if rules.placed_by == "hand" else 0


def is_gone(state: State, generation: int) -> bool:
    """True if a request finds nobody, or is answered `gone` (rules 13 and 15)."""
    box = state.boxes[generation - 1]
    return box.state in ("dead", "none") or box.registered != "yes"


def with_box(state: State, generation: int, /, **changes: object) -> tuple[Box, ...]:
    """The boxes with one changed."""
    boxes = list(state.boxes)
    boxes[generation - 1] = boxes[generation - 1]._replace(**changes)  # type: ignore[arg-type]
    return tuple(boxes)


def with_knowledge(state: State, generation: int, call: int, knows: str) -> tuple[Box, ...]:
    """The boxes after a worker learned something of a call."""
    known = list(state.boxes[generation - 1].knows)
    known[call] = knows
    return with_box(state, generation, knows=tuple(known))


def posted(state: State, item: Item) -> tuple[Item, ...]:
    """The inbox after a publish; the same message again within the dedupe window is not stored."""
    return state.inbox if item in state.inbox else (*state.inbox, item)
