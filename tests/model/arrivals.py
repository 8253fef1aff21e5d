"""The inbox of one session as two subjects of one stream: `in` of clients, `res` of hands. Pure.

Both subjects share the sequence of the stream. A harness reads the inbox, or hears arrivals: each arrival carries its
sequence and the sequence of the message before it on the SAME subject that was still stored (`Nats-Last-Sequence` of a
republished message). The question: is `taken` in the head one sequence, or a sequence for each subject?

One owner at a time drives the session (claim.py shows that); it may die at any step. Deliveries may reach any replica,
which acks what is done. Bounded: the messages. Not bounded: deaths of the owner, arrivals heard late, twice, in any
order or never, reads from followers that lag.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tests.model.explore import Step
from tests.model.scenario import Scenario, replaced

SUBJECTS = ("in", "res")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules of a variant; the defaults are those of the protocol."""

    messages: int = 3
    taken: Literal["each", "one"] = "each"
    """The head has a taken sequence for each subject, or one for both."""
    hearing: Literal["gapless", "blind", "never"] = "gapless"
    """Heard messages are taken if they are contiguous in their subject, always, or never (the inbox is read)."""
    reading: Literal["filters", "wildcard"] = "filters"
    """Each subject is read by its own request, maybe from different servers, or both by one request with a wildcard."""
    upto_trigger: bool = True
    """A claim reads its trigger's subject at least up to the trigger."""
    done: Literal["subject", "any"] = "subject"
    """A message is done by the taken sequence of its own subject, or by the highest of both."""
    pages: bool = False
    """What a read finds may be taken in several commits, each of a prefix of it."""
    warm: bool = True
    """A delivery may be claimed by what was heard, without reading the inbox."""


class Message(NamedTuple):
    """A message of the inbox; its stream sequence is its place in the tuple, from 1."""

    subject: int
    previous: int
    """Sequence of the message before it that was stored on its subject when it was stored; 0: none."""
    present: bool = True


class State(NamedTuple):
    """`log`: the sequences that are in the log. `owner`: what the live owner heard and has not used, or None."""

    messages: tuple[Message, ...] = ()
    taken: tuple[int, int] = (0, 0)
    log: frozenset[int] = frozenset()
    trigger: int = 0
    """Stream sequence of the delivery that the open claim was made for; 0: no claim."""
    owner: frozenset[int] | None = None


class ArrivalsModel:
    """Two subjects, one stream, one session."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def initial(self) -> State:
        return State()

    def is_good(self, state: State) -> bool:
        return not state.trigger and len(state.log) == len(state.messages)

    def violation(self, state: State) -> str | None:
        for seq, message in enumerate(state.messages, 1):
            if seq in state.log:
                continue
            if not message.present:
                return "(1) an input was removed that is not in the log"
            if self._is_taken(state, seq):
                return "(1) an input was skipped: it counts as taken and is not in the log"
        return None

    def steps(self, state: State) -> Iterator[Step[State]]:
        yield from self._store(state)
        yield from self._deliver(state)
        if state.owner is not None:
            yield from self._drive(state, state.owner)

    # --- what the head says --------------------------------------------------------------------------------------

    def _is_taken(self, state: State, seq: int) -> bool:
        if self.rules.done == "any":
            return seq <= max(state.taken)
        return seq <= state.taken[state.messages[seq - 1].subject]

    def _is_done(self, state: State, seq: int) -> bool:
        """Rule 2."""
        return self._is_taken(state, seq) and state.trigger != seq

    def _append(self, state: State, seqs: list[int]) -> tuple[State, str | None]:
        """The state after a commit that takes these messages, and what it violates."""
        taken = list(state.taken)
        for seq in seqs:
            subjects = (state.messages[seq - 1].subject,) if self.rules.taken == "each" else (0, 1)
            for subject in subjects:
                taken[subject] = max(taken[subject], seq)
        violation = "(1) an input was taken twice" if state.log.intersection(seqs) else None
        return state._replace(taken=(taken[0], taken[1]), log=state.log.union(seqs)), violation

    # --- what an owner may take ----------------------------------------------------------------------------------

    def _heard(self, state: State, heard: frozenset[int]) -> list[int]:
        """The heard messages that may be taken without reading the inbox."""
        found: list[int] = []
        taken = list(state.taken)
        for seq in sorted(heard):
            message = state.messages[seq - 1]
            if seq <= taken[message.subject]:
                continue
            if self.rules.hearing == "gapless" and message.previous > taken[message.subject]:
                continue
            found.append(seq)
            for subject in (0, 1) if self.rules.taken == "one" else (message.subject,):
                taken[subject] = seq
        return found

    def _reads(self, state: State, least: int = 0) -> Iterator[list[int]]:
        """Every answer that a read of the inbox may give, from servers that lag, at least up to `least`."""
        last = len(state.messages)
        least = least if self.rules.upto_trigger else 0
        if self.rules.reading == "wildcard":
            horizons = [(upto, upto) for upto in range(least, last + 1)]
        else:
            subject = state.messages[least - 1].subject if least else -1
            bounds = [least if s == subject else 0 for s in (0, 1)]
            horizons = [(a, b) for a in range(bounds[0], last + 1) for b in range(bounds[1], last + 1)]
        answers = {tuple(self._waiting(state, upto)) for upto in horizons}
        if self.rules.pages:
            answers |= {answer[:size] for answer in answers for size in range(1, len(answer))}
        yield from (list(answer) for answer in answers)

    def _waiting(self, state: State, upto: tuple[int, int]) -> list[int]:
        """The messages above `taken` that are stored, each subject up to its horizon."""
        return [
            seq
            for seq, m in enumerate(state.messages, 1)
            if m.present and state.taken[m.subject] < seq <= upto[m.subject]
        ]

    # --- steps ---------------------------------------------------------------------------------------------------

    def _store(self, state: State) -> Iterator[Step[State]]:
        if len(state.messages) == self.rules.messages:
            return
        for subject, name in enumerate(SUBJECTS):
            before = [seq for seq, m in enumerate(state.messages, 1) if m.present and m.subject == subject]
            stored = Message(subject, before[-1] if before else 0)
            label = f"{name} {len(state.messages) + 1} is stored"
            yield Step(label, "fault", state._replace(messages=(*state.messages, stored)))

    def _deliver(self, state: State) -> Iterator[Step[State]]:
        for seq, message in enumerate(state.messages, 1):
            name = f"{SUBJECTS[message.subject]} {seq}"
            if not message.present:
                continue
            if self._is_done(state, seq):
                removed = replaced(state.messages, seq - 1, message._replace(present=False))
                yield Step(f"{name} is delivered: done, ack", "step", state._replace(messages=removed))
            elif state.owner is None and state.trigger in (0, seq):
                yield from self._claim(state, seq, name)

    def _claim(self, state: State, seq: int, name: str) -> Iterator[Step[State]]:
        """Rule 4. The delivered message counts as heard; its arrival tells the message before it."""
        claimed = state._replace(trigger=seq, owner=frozenset())
        if self.rules.warm and self.rules.hearing != "never" and (seqs := self._heard(state, frozenset([seq]))):
            after, violation = self._append(claimed, seqs)
            yield Step(f"{name} is delivered: claimed at once, takes {seqs}", "step", after, violation)
        for seqs in self._reads(state, seq):
            if not self.rules.upto_trigger and not self._is_taken(state, seq):
                seqs = sorted({*seqs, seq})  # noqa: PLW2901 - believed complete, as the trigger is at hand
            after, violation = self._append(claimed, seqs)
            yield Step(f"{name} is delivered: claimed after a read, takes {seqs}", "step", after, violation)

    def _drive(self, state: State, heard: frozenset[int]) -> Iterator[Step[State]]:
        """Rules 5 to 10 of the live owner."""
        yield Step("the owner dies", "fault", state._replace(owner=None))
        for seq, message in enumerate(state.messages, 1):
            if seq not in heard and self.rules.hearing != "never":
                after = state._replace(owner=heard | {seq})
                yield Step(f"the owner hears {SUBJECTS[message.subject]} {seq}", "fault", after)
        if heard:
            seqs = self._heard(state, heard)
            after, violation = self._append(state._replace(owner=frozenset()), seqs)
            yield Step(f"the owner takes {seqs} of what it heard", "step", after, violation)
        for seqs in self._reads(state):
            if seqs:
                after, violation = self._append(state._replace(owner=frozenset()), seqs)
                yield Step(f"the owner reads the inbox and takes {seqs}", "step", after, violation)
            elif self._is_taken(state, state.trigger):
                after = state._replace(trigger=0, owner=None)
                yield Step("the owner finds nothing and releases", "step", after)


def _scenario(name: str, rule: str, verdict: str = "holds", what: str = "", **rules: object) -> Scenario:
    return Scenario(
        name=f"arrivals: {name}",
        rule=rule,
        model=lambda: ArrivalsModel(Rules(**rules)),  # type: ignore[arg-type]
        verdict=verdict,  # type: ignore[arg-type]
        what=what,
    )


SCENARIOS = [
    _scenario("a sequence for each subject", "5"),
    _scenario("a sequence for each subject, only read", "5", hearing="never"),
    _scenario("a sequence for each subject, one wildcard request", "5", reading="wildcard"),
    _scenario("a sequence for each subject, taken in several commits", "4, 5", reading="wildcard", pages=True),
    _scenario("one sequence, heard", "5", "broken", "skipped", taken="one", reading="wildcard"),
    _scenario("one sequence, heard, never at the claim", "5", "broken", "skipped", taken="one", reading="wildcard",
              warm=False),
    _scenario("one sequence, a request for each subject", "5", "broken", "skipped", taken="one", hearing="never"),
    _scenario("one sequence, one wildcard request, never heard", "5", taken="one", reading="wildcard",
              hearing="never"),
    _scenario("gaps in what was heard are ignored", "5", "broken", "skipped", hearing="blind"),
    _scenario("done by the higher of both sequences", "2", "broken", "skipped", done="any"),
    _scenario("the claim is not read up to its trigger", "4", "broken", "skipped", upto_trigger=False),
]  # fmt: skip

BIG = [
    _scenario("a sequence for each subject, 4 messages", "5", messages=4),
    _scenario("a sequence for each subject, 5 messages", "5", messages=5),
    _scenario("one sequence, one wildcard request, 5 messages", "5", messages=5, taken="one", reading="wildcard",
              hearing="never"),
]  # fmt: skip
