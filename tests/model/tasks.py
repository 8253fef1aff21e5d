"""Tasks: each starts or continues one session, exactly once (rules 31 to 35). Pure.

All tasks share a session key. Two edges take deliveries of the same messages; each may die at any step, or be so slow
that the other gets its message. Sessions are archived and deleted, the binding comes and goes, a task is published or
sent again. An input is put, taken by a harness, or lost with its deleted session.
"""

from collections.abc import Iterator
from typing import Any

from tests.model.explore import Step, Verdict
from tests.model.scenario import Scenario, replaced
from tests.model.task_state import Edge, MessageState, Record, Rules, Session, State

Steps = Iterator[Step[State]]

LETTERS = 8
"""Ids of dead letters; one that no record and no edge names is used again."""


class TaskModel:
    """Message `m` is of task `m // publishes`; session `s` is the one of attempt `s % attempts` of its task."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.attempts = rules.ends + 1

    def initial(self) -> State:
        rules, n = self.rules, self.rules.tasks
        once: tuple[MessageState, ...] = ("waits", *(("none",) * (rules.publishes - 1)))  # pyright: ignore[reportAssignmentType]
        first = once * n
        session = Session(waits=(0,) * n, taken=(0,) * n, seen=(False,) * n)
        return State(
            bound=not rules.unbound,
            messages=first,
            letters=("none",) * LETTERS,
            records=(Record(),) * n,
            sessions=(session,) * (n * self.attempts),
            edges=(Edge(),) * rules.edges,
            owned=(False,) * n,
        )

    # --- properties --------------------------------------------------------------------------------------------------

    def is_good(self, state: State) -> bool:
        if "waits" in state.messages or any(edge.at != "idle" for edge in state.edges):
            return False
        if any(s.state == "live" and (any(s.waits) or not any(s.taken)) for s in state.sessions):
            return False
        return all(record.state in ("done", "dead") for record in state.records)

    def violation(self, state: State) -> str | None:
        kept = [s for s in state.sessions if s.state != "deleted"]
        for task, record in enumerate(state.records):
            if sum(s.taken[task] for s in kept) > 1:
                return "(11) a task is carried out twice"
            if record.state == "done" and not state.owned[task]:
                return "(11) a task is done, and no session has got it"
            if record.state == "dead" and state.letters[record.letter] != "stored":
                return "(11) the bytes of a dead task are gone"
            if record.state == "done" and record.letter >= 0 and state.letters[record.letter] == "stored":
                return "(35) the bytes of a finished task are kept"
        if sum(s.state == "live" for s in state.sessions) > 1:
            return "(11) two sessions for one key"
        return None

    # --- everybody else ----------------------------------------------------------------------------------------------

    def steps(self, state: State) -> Steps:
        for step in self._steps(state):
            yield step._replace(after=self._normal(step.after))

    def _normal(self, state: State) -> State:
        """The state without what nobody will look at again, so that there are fewer."""
        edges = state.edges
        if self.rules.acks_last:
            edges = tuple(Edge("ack", edge.message) if edge.at == "ack" else edge for edge in edges)
        letters = state.letters
        if self.rules.fresh_letters:
            named = {record.letter for record in state.records}
            named |= {n for edge in edges for n in (edge.letter, edge.record.letter)}
            letters = tuple(letter if n in named else "none" for n, letter in enumerate(letters))
        return state._replace(edges=edges, letters=letters)

    def _steps(self, state: State) -> Steps:
        rules = self.rules
        for m, message in enumerate(state.messages):
            if message == "none":
                after = state._replace(messages=replaced(state.messages, m, "waits"))
                yield Step(f"message {m} is published (again)", "fault", after)
        if state.changes < rules.changes:
            after = state._replace(bound=not state.bound, changes=state.changes + 1)
            yield Step(f"the binding changes, bound: {not state.bound}", "fault", after)
        for s, session in enumerate(state.sessions):
            yield from self._session(state, s, session)
        if rules.window_ends and any(any(s.seen) for s in state.sessions):
            sessions = tuple(s._replace(seen=(False,) * rules.tasks) for s in state.sessions)
            edges = state.edges
            if rules.gives_up:
                edges = tuple(Edge() if edge.at in ("enter", "put") else edge for edge in edges)
            yield Step("the dedupe window ends", "fault", state._replace(sessions=sessions, edges=edges))
        for e, edge in enumerate(state.edges):
            yield from self._edge(state, e, edge)
            if edge.at != "idle":
                yield Step(f"E{e} dies", "fault", self._moved(state, e, Edge()))

    def _session(self, state: State, s: int, session: Session) -> Steps:
        if session.state == "live" and state.ends < self.rules.ends:
            ended = state._replace(ends=state.ends + 1)
            yield Step(f"session {s} is archived", "fault", self._with(ended, s, session._replace(state="archived")))
            yield Step(f"session {s} is deleted", "fault", self._with(ended, s, session._replace(state="deleted")))
        for task, count in enumerate(session.waits):
            if count and session.state != "absent":
                after = session._replace(waits=replaced(session.waits, task, count - 1))
                if session.state == "live":
                    after = after._replace(taken=replaced(session.taken, task, session.taken[task] + 1))
                yield Step(f"session {s} takes task {task} ({session.state})", "step", self._with(state, s, after))

    # --- one edge ----------------------------------------------------------------------------------------------------

    def _edge(self, state: State, e: int, edge: Edge) -> Steps:
        if edge.at == "idle":
            for m, message in enumerate(state.messages):
                if message == "waits":
                    is_slow = any(other.at != "idle" and other.message == m for other in state.edges)
                    after = self._moved(state, e, Edge("read", m))
                    yield Step(f"message {m} is delivered to E{e}", "fault" if is_slow else "step", after)
            return
        label, after = self._next(state, e, edge)
        yield Step(f"E{e} {label}", "step", after)

    def _next(self, state: State, e: int, edge: Edge) -> tuple[str, State]:  # noqa: C901, PLR0911, PLR0912  one case a step
        task = edge.message // self.rules.publishes
        match edge.at:
            case "read":
                return self._read(state, e, edge, state.records[task])
            case "bind":
                to = "bury" if not state.bound else "open" if edge.record.session >= 0 else "key"
                session = edge.record.session
                return f"reads the binding: {state.bound}", self._moved(state, e, edge._replace(at=to, session=session))
            case "key":
                return self._key(state, e, edge, task)
            case "open":
                attempt = max(1, edge.record.attempt)
                opened = edge.record._replace(state="open", session=edge.session, attempt=attempt)
                to = "look" if edge.record.session >= 0 else "enter"
                return self._record(state, e, edge, opened, to)
            case "look":
                session = state.sessions[edge.record.session]
                waits = session.waits[task] and (session.state == "live" or not self.rules.knows_ended)
                found = self.rules.looks and bool(session.taken[task] or waits)
                after = self._moved(state, e, edge._replace(at="finish" if found else "enter"))
                return f"looks for the input: {found}", after
            case "enter":
                return self._enter(state, e, edge)
            case "put":
                return self._put(state, e, edge, task)
            case "after":
                session = state.sessions[edge.record.session]
                lost = self.rules.second_look and session.ended and not session.taken[task]
                to = "rekey" if lost else "finish" if self.rules.acks_last else "ack"
                return f"looks once more: {session.state}", self._moved(state, e, edge._replace(at=to))
            case "rekey":
                return self._rekey(state, e, edge, task)
            case "raise":
                raised = edge.record._replace(session=edge.session, attempt=edge.record.attempt + 1)
                return self._record(state, e, edge, raised, "look")
            case "finish":
                done = edge.record._replace(state="done") if self.rules.remembers else Record()
                old = edge.record.letter
                if self.rules.erases_first and old >= 0 and edge.letter != old:
                    after = state._replace(letters=replaced(state.letters, old, "erased"))
                    return "erases its dead letter", self._moved(after, e, edge._replace(letter=old))
                to = "erase" if old >= 0 and edge.letter != old else "ack"
                return self._record(state, e, edge._replace(letter=old), done, to)
            case "erase":
                after = state._replace(letters=replaced(state.letters, edge.letter, "erased"))
                return "erases a dead letter", self._moved(after, e, edge._replace(at="ack"))
            case "bury" | "dead":
                return self._bury(state, e, edge)
            case _:
                gone = state._replace(messages=replaced(state.messages, edge.message, "gone"))
                if not self.rules.acks_last and edge.record.state == "open":
                    return "acks", self._moved(gone, e, edge._replace(at="finish"))
                return "acks", self._moved(gone, e, Edge())

    def _read(self, state: State, e: int, edge: Edge, record: Record) -> tuple[str, State]:
        to = {"none": "bind", "open": "look", "done": "ack", "dead": "bind"}[record.state]
        known = record.origin >= edge.message if self.rules.newer_only else record.origin == edge.message
        if record.state == "dead" and known:
            to = "ack"
        return f"reads the record: {record.state}", self._moved(state, e, Edge(to, edge.message, record))  # type: ignore[arg-type]

    def _key(self, state: State, e: int, edge: Edge, task: int) -> tuple[str, State]:
        own = task * self.attempts
        session = state.key if state.key >= 0 and self.rules.creates_key else own
        after = state._replace(key=session)
        return f"makes or reads the key: session {session}", self._moved(
            after, e, edge._replace(at="open", session=session)
        )

    def _enter(self, state: State, e: int, edge: Edge) -> tuple[str, State]:
        s = edge.record.session
        session = state.sessions[s]
        if session.ended:
            found = self.rules.looks_again and session.taken[edge.message // self.rules.publishes]
            to = "finish" if found else "rekey"
            return f"finds session {s} {session.state}", self._moved(state, e, edge._replace(at=to))
        if session.state == "live":
            return f"finds session {s}", self._moved(state, e, edge._replace(at="put"))
        if not state.bound:
            return f"cannot make session {s}", self._moved(state, e, edge._replace(at="bury"))
        made = self._with(state, s, session._replace(state="live"))
        return f"makes session {s}", self._moved(made, e, edge._replace(at="put"))

    def _put(self, state: State, e: int, edge: Edge, task: int) -> tuple[str, State]:
        s = edge.record.session
        session = state.sessions[s]
        after = self._moved(state, e, edge._replace(at="after"))
        if session.seen[task]:
            return f"puts the input of task {task} into session {s}: a duplicate", after
        waits = session.waits if session.state == "deleted" else replaced(session.waits, task, session.waits[task] + 1)
        after = self._with(after, s, session._replace(waits=waits, seen=replaced(session.seen, task, True)))
        if session.state == "live":
            after = after._replace(owned=replaced(after.owned, task, True))
        return f"puts the input of task {task} into session {s}", after

    def _rekey(self, state: State, e: int, edge: Edge, task: int) -> tuple[str, State]:
        own = task * self.attempts + edge.record.attempt
        session = own if state.key == edge.record.session else state.key
        after = self._moved(state._replace(key=session), e, edge._replace(at="raise", session=session))
        return f"sets or reads the key: session {session}", after

    def _bury(self, state: State, e: int, edge: Edge) -> tuple[str, State]:
        rules, m, old = self.rules, edge.message, edge.record.letter
        if (edge.at == "bury") == rules.letter_first:
            letter = self._fresh(state) if rules.fresh_letters else m
            stored = state
            if rules.fresh_letters or state.letters[m] == "none":
                stored = state._replace(letters=replaced(state.letters, letter, "stored"))
            to = edge._replace(at="dead", letter=letter) if rules.letter_first else edge._replace(at="ack")
            return f"stores message {m} as dead", self._moved(stored, e, to)
        if edge.at == "dead" and rules.letter_first and state.records[m // rules.publishes] != edge.record:
            state = state._replace(letters=replaced(state.letters, edge.letter, "erased"))  # nothing names it
        letter = edge.letter if rules.letter_first else self._fresh(state)
        origin = max(m, edge.record.origin) if rules.newer_only else m
        dead = edge.record._replace(state="dead", origin=origin, letter=letter)
        to = ("erase" if old not in (-1, letter) else "ack") if rules.letter_first else "dead"
        return self._record(state, e, edge._replace(letter=old), dead, to)

    @staticmethod
    def _fresh(state: State) -> int:
        named = {record.letter for record in state.records}
        named |= {n for edge in state.edges for n in (edge.letter, edge.record.letter)}
        return next(n for n in range(LETTERS) if n not in named)

    # --- helpers -----------------------------------------------------------------------------------------------------

    def _record(self, state: State, e: int, edge: Edge, record: Record, to: Any) -> tuple[str, State]:
        """The record is written if it is as the edge knows it; else the edge begins again."""
        task = edge.message // self.rules.publishes
        if self.rules.compares and state.records[task] != edge.record:
            return f"cannot set the record to {record.state}", self._moved(state, e, Edge("read", edge.message))
        after = state._replace(records=replaced(state.records, task, record))
        return f"sets the record to {record.state}", self._moved(after, e, edge._replace(at=to, record=record))

    @staticmethod
    def _moved(state: State, e: int, edge: Edge) -> State:
        return state._replace(edges=replaced(state.edges, e, edge))

    @staticmethod
    def _with(state: State, s: int, session: Session) -> State:
        return state._replace(sessions=replaced(state.sessions, s, session))


def _scenario(name: str, rule: str, verdict: Verdict = "holds", what: str = "", **rules: Any) -> Scenario:
    return Scenario(
        name=f"tasks: {name}", rule=rule, model=lambda: TaskModel(Rules(**rules)), verdict=verdict, what=what
    )


TWICE, UNOWNED, GONE, TWO = "carried out twice", "no session has got it", "bytes of a dead task", "two sessions"
KEPT = "bytes of a finished task"
SCENARIOS = [
    _scenario("published twice, two edges, a session ends", "31-34"),
    _scenario("two tasks of one key, two edges", "32", tasks=2, publishes=1, ends=0),
    _scenario("the binding comes late, sent again", "35", unbound=True, changes=1, ends=0, window_ends=False),
    _scenario("done tasks are forgotten", "31", "broken", TWICE, remembers=False),
    _scenario("no look before an input is put again", "33", "broken", TWICE, looks=False),
    _scenario("an edge puts however late", "33", "broken", TWICE, gives_up=False),
    _scenario("what waits in an ended session counts as stored", "33", "broken", UNOWNED, knows_ended=False),
    _scenario("no second look before another session", "34", "broken", TWICE, looks_again=False),
    _scenario("no look after the put", "34", "broken", UNOWNED, second_look=False),
    _scenario("acknowledged before the record is done", "31", "stuck", publishes=1, ends=0, acks_last=False),
    _scenario("the record is overwritten", "31", "broken", compares=False),
    _scenario("the key is overwritten", "32", "broken", TWO, tasks=2, publishes=1, ends=0, creates_key=False),
    _scenario(
        "a message that has died opens the task again", "31", "stuck", unbound=True, changes=1, ends=0,
        window_ends=False, newer_only=False,
    ),
    _scenario(
        "done before its letter is erased", "35", "broken", KEPT, unbound=True, changes=1, ends=0, window_ends=False,
        erases_first=False,
    ),
    _scenario("dead before its bytes are stored", "35", "broken", GONE, unbound=True, ends=0, letter_first=False),
    _scenario(
        "a dead letter is named by its message", "35", "broken", GONE, unbound=True, ends=0, window_ends=False,
        fresh_letters=False,
    ),
]  # fmt: skip
BIG = [
    _scenario("published three times, two sessions end", "31-34", publishes=3, ends=2),
    _scenario("two tasks of one key, a session ends", "31-34", tasks=2, publishes=1, window_ends=False),
    _scenario("the binding comes and goes", "35", unbound=True, changes=2, ends=0),
    _scenario("three edges", "31-34", edges=3),
]
