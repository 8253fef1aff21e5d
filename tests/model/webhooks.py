"""Public events are sent to the endpoint of a webhook (rule 36). Pure.

Three events are published; the webhook is made at any moment. Two replicas send, die, are slow and take each other for
dead. The stream of public events is made anew once and filled from the log, which has lost its first event by then.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tests.model.explore import Step, Verdict
from tests.model.scenario import Scenario, replaced

EVENTS = 3
NOTHING = -1


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Bounds and rules; the defaults of the rules are the protocol's."""

    replicas: int = 2
    records: Literal["after", "before"] = "after"
    """When the progress is stored: after the endpoint has answered, or before the event is sent."""
    fenced: bool = True
    """The progress is stored against the revision that was read."""
    knows_place: bool = True
    """An event is sent only if its place in the log is behind the progress."""
    begins_anew: bool = True
    """A stream that was made anew is read from its start."""
    progress_first: bool = True
    """The progress of a new webhook is stored before the webhook; else the first replica begins at the end."""


class Progress(NamedTuple):
    """Which stream `seq` belongs to, behind which sequence to read, and which event was delivered last."""

    stream: int
    seq: int
    place: int


class Replica(NamedTuple):
    """What one replica knows: the progress as it is stored, as far as it knows, and the event in its hands."""

    began: Progress
    known: Progress
    event: int = NOTHING
    sent: bool = False


class State(NamedTuple):
    """`published`: events of the log in the stream. `got`: events in the order in which they came first."""

    replicas: tuple[Replica | None, ...]
    stream: int = 0
    published: int = 0
    made: bool = False
    wanted: int = EVENTS
    """The first event that was published after the webhook was made."""
    progress: Progress | None = None
    got: tuple[int, ...] = ()


Steps = Iterator[Step[State]]


class WebhookModel:
    """One webhook, one cell."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def initial(self) -> State:
        return State(replicas=(None,) * self.rules.replicas)

    def is_good(self, state: State) -> bool:
        done = state.progress is not None and state.progress.place == EVENTS - 1
        wanted = set(range(state.wanted, EVENTS)) - self._gone(state)
        return state.published == EVENTS and state.made and wanted <= set(state.got) and (done or not wanted)

    def violation(self, state: State) -> str | None:
        got = [event for event in state.got if event not in self._gone(state)]
        if got != sorted(got):
            return "(13) an event comes for the first time after a later one"
        return None

    @staticmethod
    def _gone(state: State) -> set[int]:
        """Events that the stream does not have any more."""
        return {0} if state.stream else set()

    @staticmethod
    def _seq(stream: int, event: int) -> int:
        """The sequence of an event: the second stream begins with the second event."""
        return event + 1 - stream

    def _end(self, state: State) -> Progress:
        last = state.published - 1
        return Progress(state.stream, max(self._seq(state.stream, last), 0), last)

    def steps(self, state: State) -> Steps:
        if state.published < EVENTS:
            yield Step(f"event {state.published} is published", "step", state._replace(published=state.published + 1))
        if state.stream == 0:
            yield Step("the stream is made anew", "fault", state._replace(stream=1))
        if not state.made:
            yield from self._create(state)
            return
        for n, replica in enumerate(state.replicas):
            if replica is None:
                yield self._begin(state, n)
            else:
                yield Step(f"R{n} dies", "fault", self._with(state, n, None))
                yield from self._send(state, n, replica)

    def _create(self, state: State) -> Steps:
        if self.rules.progress_first and state.progress is None:
            yield Step("the progress begins at the end", "step", state._replace(progress=self._end(state)))
        else:
            yield Step("the webhook is made", "step", state._replace(made=True, wanted=state.published))

    def _begin(self, state: State, n: int) -> Step[State]:
        progress = state.progress or self._end(state)
        after = self._with(state._replace(progress=progress), n, Replica(progress, progress))
        return Step(f"R{n} reads the progress: behind event {progress.place}", "step", after)

    def _send(self, state: State, n: int, replica: Replica) -> Steps:
        if replica.event == NOTHING:
            event = self._next(state, replica.known)
            if event is not None:
                taken = replica._replace(event=event)
                yield Step(f"R{n} reads event {event}", "step", self._with(state, n, taken))
        elif self.rules.records == "before" and replica.known.place < replica.event:
            yield self._record(state, n, replica)
        elif not replica.sent:
            again = replica.event <= replica.began.place
            got = state.got if replica.event in state.got else (*state.got, replica.event)
            done = replica._replace(sent=True) if self.rules.records == "after" else replica._replace(event=NOTHING)
            yield Step(
                f"R{n} sends event {replica.event}", "step", self._with(state._replace(got=got), n, done),
                "what was delivered before it began is sent again" if again else None,
            )  # fmt: skip
        else:
            yield self._record(state, n, replica)

    def _next(self, state: State, known: Progress) -> int | None:
        """The next event in the stream that is not delivered, as far as the replica knows."""
        seq = known.seq if known.stream == state.stream else 0 if self.rules.begins_anew else known.seq
        for event in range(state.stream, state.published):
            is_new = event > known.place if self.rules.knows_place else True
            if self._seq(state.stream, event) > seq and is_new:
                return event
        return None

    def _record(self, state: State, n: int, replica: Replica) -> Step[State]:
        if self.rules.fenced and state.progress != replica.known:
            return Step(f"R{n} is refused with event {replica.event}", "step", self._with(state, n, None))
        event = replica.event
        after = Progress(state.stream, self._seq(state.stream, event), event)
        knows = Replica(replica.began, after) if self.rules.records == "after" else replica._replace(known=after)
        back = state.progress is not None and after.place < state.progress.place
        return Step(
            f"R{n} records event {event}", "step", self._with(state._replace(progress=after), n, knows),
            "the progress goes back" if back else None,
        )  # fmt: skip

    @staticmethod
    def _with(state: State, n: int, replica: Replica | None) -> State:
        return state._replace(replicas=replaced(state.replicas, n, replica))


def _scenario(name: str, verdict: Verdict = "holds", what: str = "", **rules: Any) -> Scenario:
    return Scenario(
        name=f"webhooks: {name}", rule="36", model=lambda: WebhookModel(Rules(**rules)), verdict=verdict, what=what
    )


SCENARIOS = [
    _scenario("two replicas, deaths, a stream made anew"),
    _scenario("recorded before it is sent", "broken", "(13)", records="before"),
    _scenario("the progress is stored whatever it is", "broken", "goes back", fenced=False),
    _scenario("an event is known by its sequence alone", "broken", "sent again", knows_place=False),
    _scenario("a stream made anew is read from the old sequence", "broken", "(13)", begins_anew=False),
    _scenario("the first replica begins at the end", "stuck", progress_first=False),
]
BIG = [_scenario("three replicas, deaths, a stream made anew", replicas=3)]
