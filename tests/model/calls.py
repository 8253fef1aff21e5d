"""How a tool call gets from the log to a worker and its one result back (rules 8 and 12 to 18). Pure."""

from collections.abc import Iterator
from typing import Any

from tests.model import calls_state
from tests.model.calls_owner import OwnerSteps
from tests.model.calls_state import Item, Rules, State
from tests.model.calls_worker import WorkerSteps
from tests.model.explore import Step, Verdict
from tests.model.scenario import Scenario

INBOX_LIMIT = 8


class CallsModel:
    """One session, its hands and their workers."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._owner = OwnerSteps(rules)
        self._workers = WorkerSteps(rules)

    def initial(self) -> State:
        return calls_state.initial(self.rules)

    def is_good(self, state: State) -> bool:
        return not state.claim and not state.inbox and all(call.state == "done" for call in state.calls)

    def violation(self, state: State) -> str | None:
        return "the inbox grows without end" if len(state.inbox) > INBOX_LIMIT else None

    def steps(self, state: State) -> Iterator[Step[State]]:
        yield from self._owner.steps(state)
        if state.interrupts:
            after = state._replace(inbox=(*state.inbox, Item("interrupt")), interrupts=state.interrupts - 1)
            yield Step("an interrupt is stored", "fault", after)
        yield from self._workers.steps(state)


def _scenario(
    name: str, rule: str, verdict: Verdict = "holds", what: str = "", base: dict[str, Any] | None = None, **rules: Any
) -> Scenario:
    """`rules` are those of `base`, or differ from them."""
    given = Rules(**{**(base or {}), **rules})
    return Scenario(name=f"calls: {name}", rule=rule, model=lambda: CallsModel(given), verdict=verdict, what=what)


_CALM: dict[str, Any] = {"crashes": False, "deaths": False, "wire": False, "lapses": False}
_WIRE: dict[str, Any] = {**_CALM, "generations": 1, "wire": True}
_DYING: dict[str, Any] = {**_CALM, "generations": 1, "deaths": True}
_TWO_HANDS: dict[str, Any] = {"hands": 2, "calls": 2, "parallel": True, "generations": 1}
_TWO_DYING: dict[str, Any] = {**_DYING, **_TWO_HANDS}

SCENARIOS = [
    _scenario("2 calls, no faults", "12-18", base=_CALM, calls=2),
    _scenario("1 call, 2 generations, all faults", "12-18"),
    _scenario("1 call, an interrupt, all faults", "18", interrupts=1, generations=1),
    _scenario("2 calls one after the other, crashes and deaths", "12-18", calls=2, wire=False, lapses=False),
    _scenario("2 calls at once, an interrupt, deaths", "18", base=_DYING, calls=2, parallel=True, interrupts=1,
              window=False),
    _scenario("no window: each call is accepted at once", "13", window=False),
    _scenario("2 hands, a call for each, deaths", "12-18", base=_TWO_DYING, window=False),
    _scenario("call not bound to a generation", "12", "broken", "runs twice", _DYING, generations=2, bind=False),
    _scenario("provisioned before the placement is stored", "12", "stuck", "", _DYING, placement="after"),
    _scenario("finished calls are forgotten", "13", "broken", "runs twice", _WIRE, remembers=False),
    _scenario("no fallback to the inbox", "14", "stuck", "", _WIRE, fallback=False),
    _scenario("confirmed before the result is appended", "14", "stuck", "", _CALM, confirm="before", crashes=True),
    _scenario("results of closed calls are taken", "5", "broken", "second result", _WIRE, take="blindly"),
    _scenario("released when the calls are sent", "8", "stuck", "", _WIRE, release="sent"),
    _scenario("an interrupt closes calls without a cancel", "18", "broken", "after it was closed", _CALM,
              cancel=False, interrupts=1),
    _scenario("the registration expires before its worker knows", "16", "broken", "", _CALM, lapses=True,
              lease=False),
    _scenario("nobody reports dead workers", "17", "stuck", "", _DYING, watcher=False),
    _scenario("placements expire with the registration", "17", "stuck", "", _DYING, placements="expire"),
    _scenario("a placement is emptied and nobody told", "17", "stuck", "", _DYING, reports=False),
    _scenario("a worker is reported dead before the expiry", "17", "broken", "", _DYING, looks="early"),
    _scenario("the placement is emptied whatever it names", "17", "stuck", "", _DYING, generations=2,
              emptied="always"),
    _scenario("a worker starts again under its old id", "17", "stuck", "", _DYING, worker_ids="kept"),
    _scenario("2 hands, one placement for the session", "17", "stuck", "", _TWO_DYING, placed_by="session",
              window=False),
    _scenario("2 hands, the loss of one closes all calls", "15", "broken", "though its generation lives", _TWO_DYING,
              lost_closes="session"),
]  # fmt: skip

BIG = [
    _scenario("2 calls at once, an interrupt, crashes and deaths", "18", calls=2, parallel=True, interrupts=1,
              generations=1, wire=False, lapses=False),
    _scenario("2 hands, a call for each, crashes and deaths", "12-18", base=_TWO_HANDS, wire=False, lapses=False),
    _scenario("2 calls one after the other, all faults", "12-18", calls=2),
    _scenario("2 calls at once, all faults", "12-18", calls=2, parallel=True),
    _scenario("1 call, 2 generations, an interrupt, all faults", "18", interrupts=1),
    _scenario("2 calls at once, an interrupt, all faults", "18", calls=2, parallel=True, interrupts=1, generations=1),
    _scenario("2 hands, a call for each, all faults", "12-18", base=_TWO_HANDS),
    _scenario("2 hands, an interrupt, deaths", "18", base=_TWO_HANDS, interrupts=1, wire=False, lapses=False),
]  # fmt: skip
