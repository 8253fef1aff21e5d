"""Open tasks: a binding lets in only so many at once, and the others wait in order (rules 38 and 39). Pure.

Each task has a session of its own. Edges take deliveries of the same messages; each may die at any step, or be so slow
that another gets its message. What a task becomes may be refused for a while (the binding is away), so that it dies
and is sent again. The sweeper stands for everybody who gives places free, and may be slow between its looks.
`tests/model/tasks.py` has the rest of a task: sessions that end, keys, dead letters.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tests.model.explore import Step, Verdict
from tests.model.scenario import Scenario, replaced

RecordState = Literal["none", "open", "done", "dead"]
MessageState = Literal["none", "waits", "gone"]
SessionState = Literal["none", "waits", "runs", "rests"]
"""Of the input of a task: nowhere, in the inbox, taken for a turn, and that turn has ended."""

At = Literal["idle", "read", "bind", "look", "enter", "open", "put", "done", "bury", "leave", "ack", "watch"]
SweepAt = Literal["idle", "message", "record", "inbox", "log", "leave"]

Place = tuple[int, int]
"""The task that has the place, and the message for which it was let in."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Bounds and rules; the defaults of the rules are the protocol's."""

    messages: tuple[int, ...] = (0, 1)
    """The task of each message, in the order in which they are stored; a second one of a task may never come."""
    edges: int = 2
    limit: int = 1
    changes: int = 0
    """How often the binding vanishes or comes back."""
    refused: frozenset[int] = frozenset({0})
    """Tasks that die while there is no binding; the others are of a kind that has one."""
    batch: frozenset[int] = frozenset()
    """Tasks that wait behind the others."""
    place_first: bool = True
    """A task has its place before its record is open."""
    compares: bool = True
    """The gate is written by compare-and-set."""
    in_order: bool = True
    """Nobody takes a place that is needed for those who wait and come before."""
    names_message: bool = True
    """A place is given free for the message that it was taken for; else for whatever message of the task."""
    renews: bool = True
    """A task that comes with a newer message puts that one into its place."""
    keeps_newer: bool = True
    """A task that comes with an older message leaves the newer one in its place."""
    message_first: bool = True
    """The sweeper looks for the message before it reads the record."""
    inbox_first: bool = True
    """The sweeper looks into the inbox before it reads the log."""
    until_rest: bool = True
    """A task keeps its place until its turn has ended; else until its record is done."""
    knows_newer: bool = True
    """A place for a newer message than all of its task that died is needed: its record is about to be open again."""
    sweeps_places: bool = True
    """Somebody gives free the places of processes that died."""
    sweeps_waiting: bool = True
    """Messages that are gone are taken out of the line."""


class Record(NamedTuple):
    """`origin`: the newest message that died."""

    state: RecordState = "none"
    origin: int = -1


class Gate(NamedTuple):
    """One key of the bucket: who has a place, and the messages that wait, in any order."""

    open: tuple[Place, ...] = ()
    waiting: tuple[int, ...] = ()


class Edge(NamedTuple):
    """One delivery in one process, with record and gate as it has read or written them last."""

    at: At = "idle"
    message: int = 0
    record: Record = Record()
    gate: Gate = Gate()


class Sweep(NamedTuple):
    at: SweepAt = "idle"
    place: Place = (-1, -1)
    is_gone: bool = False
    """The message of the place was not in the queue any more."""
    found: Record = Record()


class State(NamedTuple):
    bound: bool
    messages: tuple[MessageState, ...]
    records: tuple[Record, ...]
    sessions: tuple[SessionState, ...]
    edges: tuple[Edge, ...]
    gate: Gate = Gate()
    sweep: Sweep = Sweep()
    changes: int = 0


Steps = Iterator[Step[State]]


class OpenTaskModel:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.task_of = rules.messages

    def initial(self) -> State:
        rules, n = self.rules, len(set(self.task_of))
        return State(
            bound=True,
            messages=tuple("none" if task in self.task_of[:m] else "waits" for m, task in enumerate(self.task_of)),
            records=(Record(),) * n,
            sessions=("none",) * n,
            edges=(Edge(),) * rules.edges,
        )

    # --- properties --------------------------------------------------------------------------------------------------

    def is_good(self, state: State) -> bool:
        if "waits" in state.messages or any(edge.at != "idle" for edge in state.edges):
            return False
        if any(record.state not in ("done", "dead") for record in state.records):
            return False
        return state.gate == Gate() and not {"waits", "runs"} & set(state.sessions)

    def violation(self, state: State) -> str | None:
        counted = {
            task
            for task, (record, session) in enumerate(zip(state.records, state.sessions, strict=True))
            if record.state == "open" or (record.state == "done" and session != "rests")
        }
        if len(counted) > self.rules.limit:
            return "(14) more tasks are open than the binding allows"
        if counted - {task for task, _ in state.gate.open}:
            return "(14) a task is open without a place: one more may be let in"
        return None

    # --- everybody else ----------------------------------------------------------------------------------------------

    def steps(self, state: State) -> Steps:
        for step in self._steps(state):
            # The edges are alike, so that a state and the one with its edges swapped are one: there are fewer.
            yield step._replace(after=step.after._replace(edges=tuple(sorted(step.after.edges))))

    def _steps(self, state: State) -> Steps:
        for m, message in enumerate(state.messages):
            if message == "none":
                after = state._replace(messages=replaced(state.messages, m, "waits"))
                yield Step(f"message {m} is published (again)", "fault", after)
        if state.changes < self.rules.changes:
            after = state._replace(bound=not state.bound, changes=state.changes + 1)
            yield Step(f"the binding changes, bound: {not state.bound}", "fault", after)
        for task, session in enumerate(state.sessions):
            if session in ("waits", "runs"):
                to = "runs" if session == "waits" else "rests"
                after = state._replace(sessions=replaced(state.sessions, task, to))
                yield Step(f"the input of task {task} {to}", "step", after)
        yield from self._sweep(state)
        for e, edge in enumerate(state.edges):
            if edge.at == "idle":
                yield from self._deliver(state, e)
                continue
            if edge.at != "watch":
                yield self._next(state, e, edge)
            elif state.sessions[self.task_of[edge.message]] in ("none", "rests"):
                after = self._left(state, (self.task_of[edge.message], edge.message))
                yield Step(f"E{e} hears that the session rests", "step", self._moved(after, e, Edge()))
            yield Step(f"E{e} dies", "fault", self._moved(state, e, Edge()))

    def _sweep(self, state: State) -> Steps:
        """The looks of one sweeper at one place, and the gone messages that it takes out of the line."""
        rules, sweep = self.rules, state.sweep
        for m in state.gate.waiting:
            if rules.sweeps_waiting and state.messages[m] == "gone":
                waiting = tuple(other for other in state.gate.waiting if other != m)
                yield Step(f"message {m} leaves the line", "step", state._replace(gate=Gate(state.gate.open, waiting)))
        if sweep.at == "idle":
            if rules.sweeps_places:
                first: SweepAt = "message" if rules.message_first else "record"
                for place in state.gate.open:
                    after = state._replace(sweep=Sweep(first, place))
                    yield Step(f"the sweeper comes to the place of task {place[0]}", "wait", after)
            return
        if sweep.at == "leave":
            after = self._left(state, sweep.place)._replace(sweep=Sweep())
            yield Step("the sweeper gives the place free", "step", after)
            return
        seen, label = self._looked(state, sweep)
        yield Step(f"the sweeper {label}", "wait" if seen.at == "idle" else "step", state._replace(sweep=seen))

    def _looked(self, state: State, sweep: Sweep) -> tuple[Sweep, str]:
        """What the sweeper does after its next look."""
        rules, (task, message) = self.rules, sweep.place
        match sweep.at:
            case "message":
                seen = sweep._replace(is_gone=state.messages[message] == "gone")
                label = f"looks for message {message}: gone: {seen.is_gone}"
                return (seen._replace(at="record") if rules.message_first else self._decided(seen)), label
            case "record":
                seen = sweep._replace(found=state.records[task])
                label = f"reads the record of task {task}: {seen.found.state}"
                return (self._decided(seen) if rules.message_first else seen._replace(at="message")), label
            case "inbox":
                waits = state.sessions[task] == "waits"
                to: SweepAt = "log" if rules.inbox_first else "leave"
                return Sweep() if waits else sweep._replace(at=to), f"looks into the inbox: waits: {waits}"
            case _:
                runs = state.sessions[task] == "runs"
                to = "leave" if rules.inbox_first else "inbox"
                return Sweep() if runs else sweep._replace(at=to), f"reads the log: runs: {runs}"

    def _decided(self, sweep: Sweep) -> Sweep:
        match sweep.found.state:
            case "none" | "open":
                return Sweep("leave", sweep.place) if sweep.is_gone else Sweep()
            case "dead":
                is_newer = self.rules.knows_newer and sweep.place[1] > sweep.found.origin
                return Sweep() if is_newer and not sweep.is_gone else Sweep("leave", sweep.place)
            case "done":
                if not self.rules.until_rest:
                    return Sweep("leave", sweep.place)
                return Sweep("inbox" if self.rules.inbox_first else "log", sweep.place)

    # --- one edge ----------------------------------------------------------------------------------------------------

    def _deliver(self, state: State, e: int) -> Steps:
        for m, message in enumerate(state.messages):
            if message == "waits":
                is_slow = any(other.at != "idle" and other.message == m for other in state.edges)
                after = self._moved(state, e, Edge("read", m))
                yield Step(f"message {m} is delivered to E{e}", "fault" if is_slow else "step", after)

    def _next(self, state: State, e: int, edge: Edge) -> Step[State]:  # noqa: C901, PLR0911  one case a step
        task = self.task_of[edge.message]
        match edge.at:
            case "read":
                record = state.records[task]
                is_new = record.state == "none" or (record.state == "dead" and edge.message > record.origin)
                to: Any = "bind" if is_new else "put" if record.state == "open" else "ack"
                return self._went(state, e, Edge(to, edge.message, record), f"reads the record: {record.state}")
            case "bind":
                is_refused = self._is_refused(state, task)
                to = "bury" if is_refused else self._gate if self.rules.place_first else "open"
                return self._went(state, e, edge._replace(at=to), f"reads the binding: refused: {is_refused}")
            case "look":
                return self._went(state, e, edge._replace(at="enter", gate=state.gate), "reads the gate")
            case "enter":
                return self._enter(state, e, edge, task)
            case "open":
                to = "put" if self.rules.place_first else self._gate
                return self._record(state, e, edge, Record("open", edge.record.origin), to)
            case "put":
                if state.sessions[task] == "none" and self._is_refused(state, task):
                    return self._went(state, e, edge._replace(at="bury"), "cannot make the session")
                after = state
                if state.sessions[task] == "none":
                    after = state._replace(sessions=replaced(state.sessions, task, "waits"))
                return self._went(after, e, edge._replace(at="done"), f"puts the input of task {task}")
            case "done":
                return self._record(state, e, edge, Record("done", edge.record.origin), "ack")
            case "bury":
                return self._record(state, e, edge, Record("dead", max(edge.message, edge.record.origin)), "leave")
            case "leave":
                after = self._left(state, (task, edge.message))
                return self._went(after, e, edge._replace(at="ack"), "gives its place free")
            case _:
                gone = state._replace(messages=replaced(state.messages, edge.message, "gone"))
                # Where the sweeper frees all places, it stands for the process that hears of the end too.
                after = Edge() if self.rules.sweeps_places else Edge("watch", edge.message)
                return self._went(gone, e, after, "acks")

    @property
    def _gate(self) -> At:
        """How an edge comes to the gate: a write that is refused and repeated is one step."""
        return "enter" if self.rules.compares else "look"

    def _enter(self, state: State, e: int, edge: Edge, task: int) -> Step[State]:
        """Take a place, keep the one that the task has, or get in line."""
        rules, m = self.rules, edge.message
        before = state.gate if rules.compares else edge.gate
        inside: Any = "open" if rules.place_first else "put"
        own = next((place for place in before.open if place[0] == task), None)
        line = tuple(other for other in before.waiting if other != m)
        if own:
            newer = m > own[1] or not rules.keeps_newer
            kept = tuple((task, m) if place == own and rules.renews and newer else place for place in before.open)
            return self._gated(state, e, edge._replace(at=inside), Gate(kept, line), "has its place")
        ahead = [other for other in line if self._rank(other) < self._rank(m)]
        is_full = len(before.open) + len(ahead) >= rules.limit
        if len(before.open) >= rules.limit or (is_full and rules.in_order):
            line = tuple(sorted((*line, m)))
            after = state._replace(gate=Gate(before.open, line))
            return Step(f"E{e} leaves message {m} in the queue, in line", "wait", self._moved(after, e, Edge()))
        step = self._gated(state, e, edge._replace(at=inside), Gate((*before.open, (task, m)), line), "takes a place")
        return step._replace(violation="(14) a task passes another that waits") if is_full else step

    def _rank(self, message: int) -> tuple[bool, int]:
        return self.task_of[message] in self.rules.batch, message

    def _is_refused(self, state: State, task: int) -> bool:
        return not state.bound and task in self.rules.refused

    # --- helpers -----------------------------------------------------------------------------------------------------

    def _left(self, state: State, place: Place) -> State:
        """The place is free; nothing happens if the task does not have it for that message."""
        names = self.rules.names_message
        kept = tuple(other for other in state.gate.open if (other != place if names else other[0] != place[0]))
        return state._replace(gate=state.gate._replace(open=kept))

    def _gated(self, state: State, e: int, edge: Edge, gate: Gate, label: str) -> Step[State]:
        return self._went(state._replace(gate=gate), e, edge._replace(gate=Gate()), f"{label} (message {edge.message})")

    def _record(self, state: State, e: int, edge: Edge, record: Record, to: Any) -> Step[State]:
        """The record is written if it is as the edge knows it; else the edge begins again."""
        task = self.task_of[edge.message]
        if state.records[task] != edge.record:
            return self._went(state, e, Edge("read", edge.message), f"cannot set the record to {record.state}")
        after = state._replace(records=replaced(state.records, task, record))
        return self._went(after, e, edge._replace(at=to, record=record), f"sets the record to {record.state}")

    def _went(self, state: State, e: int, edge: Edge, label: str) -> Step[State]:
        """A step of an edge. What nobody will look at again is forgotten, so that there are fewer states."""
        if edge.at == "ack":
            edge = Edge(edge.at, edge.message)
        return Step(f"E{e} {label}", "step", self._moved(state, e, edge))

    @staticmethod
    def _moved(state: State, e: int, edge: Edge) -> State:
        return state._replace(edges=replaced(state.edges, e, edge))


def _scenario(name: str, rule: str, verdict: Verdict = "holds", what: str = "", **rules: Any) -> Scenario:
    return Scenario(
        name=f"open tasks: {name}", rule=rule, model=lambda: OpenTaskModel(Rules(**rules)), verdict=verdict, what=what
    )


PASSES, WITHOUT = "passes another", "open without a place"
AGAIN: dict[str, Any] = {"messages": (0, 0), "changes": 2}
"""A task dies, and is sent again."""

SCENARIOS = [
    _scenario("two tasks, one place", "38-39"),
    _scenario("a task dies and is sent again", "38-39", **AGAIN),
    _scenario("three tasks, one edge", "38-39", messages=(0, 1, 2), edges=1),
    _scenario("a batch task waits for one that came later", "39", messages=(0, 1, 2), edges=1, batch=frozenset({1})),
    _scenario("the record is open before there is a place", "38", "broken", WITHOUT, place_first=False),
    _scenario("the gate is overwritten", "38", "broken", WITHOUT, compares=False),
    _scenario("who waits is not looked at", "39", "broken", PASSES, messages=(0, 1, 2), edges=1, in_order=False),
    _scenario("a place is given free by the task alone", "38", "broken", WITHOUT, names_message=False, **AGAIN),
    _scenario("another message does not renew the place", "38", "broken", WITHOUT, renews=False, **AGAIN),
    _scenario("an older message takes the place of a newer one", "38", "broken", WITHOUT, keeps_newer=False, **AGAIN),
    _scenario("a place is free when an older message died", "38", "broken", WITHOUT, knows_newer=False, **AGAIN),
    _scenario("the record is read before the message", "38", "broken", WITHOUT, message_first=False),
    _scenario("the log is read before the inbox", "38", "broken", WITHOUT, inbox_first=False),
    _scenario("a place is free when the task is done", "38", "broken", WITHOUT, until_rest=False),
    _scenario("nobody gives free what a dead process had", "38", "stuck", sweeps_places=False),
    _scenario("a message that is gone stays in line", "39", "stuck", messages=(0, 1, 1), edges=1, sweeps_waiting=False),
]
BIG = [
    _scenario("three tasks, two places, three edges", "38-39", messages=(0, 1, 2), limit=2, edges=3),
    _scenario("two tasks, one dies and is sent again", "38-39", messages=(0, 1, 0), changes=2, refused=frozenset({0})),
]
