"""The rules, the states and the appends of the model of claims. Pure.

The state is the inbox, the head of the log, one follower of the log that lags, and the replicas; a replica here is the
handler of one delivery, so one process may be several. Sequence numbers are not stored. For each replica two bits say
what matters of them: `fresh` (nothing was appended since it read, so its append is accepted) and `mine` (the newest
claim is its own). So the states are finite although crashes, slow owners, lost answers, late appends and foreign
appends may happen any number of times. Bounded are inputs, nudges and replicas. A turn is: take, work, append the
turn, release.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from tests.model.scenario import replaced


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Bounds, faults that may happen any number of times, and rules; the defaults of the rules are the protocol's."""

    inputs: int = 2
    replicas: int = 2
    nudges: int = 0

    crashes: bool = True
    slow: bool = True
    """ack_wait passes although the holder lives, or a false notice of its death has the message redelivered."""
    updates: bool = False
    """The session service appends."""
    lost: bool = False
    """An append is stored and its answer is lost."""
    late: bool = False
    """An append lands after its sender gave up waiting; one at a time."""
    archive: bool = False
    """The session is archived once, while no claim is open."""
    stale_log: bool = False
    """The head may be read from a follower that lags."""
    stale_inbox: bool = False
    """The inbox may be read from a follower that lags."""
    vanish: bool = False
    """The message of an open claim's trigger is lost for good while its owner is dead."""
    false_notices: bool = False
    """A live owner is reported dead to a replica that claims by notice."""
    poison: int = 0
    """Number of the input that kills the replica that works on it."""
    parse_kills: bool = False
    """The poison kills already when it is read, before any append."""

    warm: bool = False
    """A replica keeps the last commit of a session that it released and claims at once, expecting it (rule 4)."""
    contiguous: bool = True
    """It does so only if its trigger is known to be the next input."""
    recheck: Literal["nudge", "none", "same"] = "none"
    """After a release with inputs waiting: publish a nudge, do nothing, or claim again with the old trigger."""
    pages: bool = False
    """What waits may be taken in several commits, each of a prefix of what is left."""
    until_trigger: bool = True
    """The claim is let go only once its trigger is taken; False: the release counts all up to the trigger as taken."""
    take: Literal["all", "trigger"] = "all"
    """A claim takes all that waits up to its trigger and beyond, or its trigger alone."""
    refused: Literal["leader", "drop", "same"] = "leader"
    """A refused claim: decide from the leader's head, drop the delivery, or claim again with the old knowledge."""
    unsure: Literal["id", "claim"] = "id"
    """After an unanswered release: look for the own commit, or only for a foreign claim."""
    fence: Literal["claim", "name"] = "claim"
    """A claim is known by its id, or by the name of its replica."""
    foreign: Literal["nak", "ack"] = "nak"
    """A delivery under the claim of another trigger."""
    archived: Literal["take", "ack"] = "take"
    """An input of an archived session is taken without a turn, or only acked."""
    done: Literal["trigger", "taken"] = "trigger"
    """The trigger of the open claim is not done, or is done because it is taken."""
    max_deliver: int = 0
    """Deliveries of a message; 0: unlimited."""
    attempts: int = 2
    """Takeovers without progress before the turn is closed with session.error; 0: never."""
    at_limit: Literal["release", "keep"] = "release"
    """That commit releases the claim, or keeps it."""
    takeover_of_standing: bool = True
    """A claim that has stood still for 15 minutes is taken over by any input."""
    claim_first: bool = False
    """From the second delivery on, claim before bodies are read."""
    notice: Literal["", "claim"] = ""
    """Notice of a death: "claim": a replica without the delivery claims with the trigger of the dead one's claim."""
    no_bounce: bool = False
    """Property: no live owner is taken over that was neither slow nor reported dead."""
    no_error: bool = False
    """Property: no turn is closed with session.error."""
    anonymous: bool = True
    """Replicas are interchangeable: fewer states. False: traces keep their names."""


class Head(NamedTuple):
    """The head of the log. `work`: 0 none, 1 some, 2 poisonous."""

    taken: int = 0
    trigger: int = 0
    work: int = 0
    failures: int = 0
    archived: bool = False


class Replica(NamedTuple):
    """`does`: its next step; `trigger`: its delivery; `upto`: the last input that it is going to take."""

    does: str = "idle"
    trigger: int = 0
    upto: int = 0
    fresh: bool = False
    mine: bool = False
    how: str = ""
    """`alone`: it takes its trigger alone; `notice`: it claims by notice of a death and has no delivery."""


class Append(NamedTuple):
    """An append under way whose sender has given up waiting."""

    name: str
    head: Head
    claims: bool


class State(NamedTuple):
    """`inbox`: `-` not stored, `ready`, `held` by a replica, `gone`; `current`: the follower has the newest head."""

    inbox: tuple[str, ...]
    counts: tuple[int, ...]
    replicas: tuple[Replica, ...]
    head: Head = Head()
    follower: tuple[int, int] = (0, 0)
    current: bool = True
    stored: int = 0
    nudges: int = 0
    flying: Append | None = None


IDLE = Replica()
APPENDING = frozenset({"take", "work", "release"})
OWNING = APPENDING | {"own"}
POISON = 2
"""`Head.work` if an input that kills was taken."""


class Moves:
    """The states after a step."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def moved(self, state: State, index: int, replica: Replica, **fields: object) -> State:
        """The state after a step of a replica that appends nothing."""
        replicas = replaced(state.replicas, index, replica)
        return state._replace(replicas=tuple(sorted(replicas)) if self.rules.anonymous else replicas, **fields)  # type: ignore[arg-type]

    def appended(self, state: State, head: Head, *, claims: bool = False) -> State:
        """The state after an append: nobody else's knowledge is fresh any more."""
        follower, current = state.follower, False
        if not self.rules.stale_log:
            follower, current = (head.taken, head.trigger), True
        replicas = tuple(_outdated(r, claims=claims) for r in state.replicas)
        if self.rules.anonymous:
            replicas = tuple(sorted(replicas))
        return state._replace(head=head, follower=follower, current=current, replicas=replicas, flying=None)

    def wrote(self, state: State, index: int, replica: Replica, head: Head, *, claims: bool = False) -> State:
        """The state after an accepted append of a replica."""
        after = self.appended(state._replace(replicas=replaced(state.replicas, index, IDLE)), head, claims=claims)
        return self.moved(after, after.replicas.index(IDLE) if self.rules.anonymous else index, replica)

    def put_nudge(self, state: State) -> State:
        """The state after a nudge was stored."""
        return state._replace(
            stored=state.stored + 1, nudges=state.nudges - 1, inbox=replaced(state.inbox, state.stored, "ready")
        )


def _outdated(replica: Replica, *, claims: bool) -> Replica:
    """The replica after an append of somebody else. Replicas whose next append is refused alike are made alike."""
    does = replica.does
    mine = replica.mine and not claims
    if does in OWNING:
        return Replica("own", replica.trigger, mine=mine, how=replica.how)
    if does in ("claim", "nak", "unsure release"):
        return Replica(does, replica.trigger, how=replica.how)
    if does == "warm":
        return Replica("warm")
    return replica._replace(fresh=False, mine=mine)


def after_release(rules: Rules, replica: Replica, *, fresh: bool) -> Replica:
    """What a replica does after its release. One that claimed by notice has no delivery: it cannot ack."""
    if replica.how == "notice":
        return IDLE
    return Replica("ack" if rules.recheck == "none" else "look", replica.trigger, fresh=fresh)


def unsure_release(replica: Replica) -> Replica:
    """A replica whose release was not answered."""
    return Replica("unsure release", replica.trigger, fresh=True, how=replica.how)


def horizons(rules: Rules, state: State, least: int) -> range:
    """How far a read of the inbox may reach, at least up to `least`."""
    return range(least if rules.stale_inbox else state.stored, state.stored + 1)


def waiting(state: State, upto: int) -> int:
    """The last input above `taken` within the horizon `upto`; 0: none."""
    return max((s for s in range(state.head.taken + 1, upto + 1) if state.inbox[s - 1] != "gone"), default=0)


def is_poisonous(rules: Rules, state: State, last: int) -> bool:
    """True if taking the inputs up to `last` takes the one that kills."""
    return state.head.taken < rules.poison <= last
