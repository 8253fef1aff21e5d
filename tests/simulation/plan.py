"""The plan of a schedule and its result, as data. Only `draw_plan` is random, from the generator that it is given."""

import random

from msgspec import Struct

CHILD = "sthr_2"
"""Id of the second thread of a session that has one."""

FAULT_PERIOD_S = 12.0
"""Seconds during which faults are injected."""


class Plan(Struct, frozen=True):
    """The processes, inputs and rare events of a schedule; drawn from its seed unless given."""

    replicas: int = 2
    workers: int = 1
    hosts: int = 1
    """Hosts on which the workers run in turn; hosts share no files."""
    clocks: int = 0
    """Workers of the second hand, `clock`, whose tools are offered if there is one."""
    messages: int = 2
    interrupts: int = 0
    impatient: int = 0
    """Interrupts that the user sends while a tool call is open."""
    pairs: int = 0
    """Times that the user sends two messages at once while the session rests."""
    updates: int = 0
    child: bool = False
    """Every other message goes to a second thread of the session; an interrupt stops one of them, or both."""
    archive: bool = False
    delete: bool = False
    """The session is deleted and erased as soon as it rests, or is archived."""
    last_pass: bool = True
    """Its snapshot too is erased once more in the end. Without it a late one must be erased by who stored it."""
    poison: bool = False
    """The first message kills each process that sends it to the model."""
    deadly: bool = False
    """The first message kills each process that decodes it."""
    vanish: bool = False
    drains: int = 0
    calls: int | None = None
    """Most tool calls that the model makes. If given, it makes them as early as possible, and all of one tool."""
    reads: bool = False
    """That tool only reads, so that its calls run side by side; otherwise it is `bash`."""
    hold: float | None = None
    """Seconds that a harness stays with a session while its tools run."""
    steady: tuple[str, ...] = ()
    """Prefixes of the names of processes that neither crash nor freeze."""


def draw_plan(rng: random.Random) -> Plan:
    """A plan at random."""
    return Plan(
        replicas=rng.choice([1, 2, 2, 3]),
        workers=rng.choice([1, 1, 2]),
        hosts=rng.choice([1, 2]),
        clocks=rng.choice([0, 0, 1, 2]),
        messages=rng.choice([1, 2, 2, 3]),
        interrupts=rng.choice([0, 0, 1, 2]),
        impatient=rng.choice([0, 0, 0, 2]),
        pairs=rng.choice([0, 0, 1, 3]),
        updates=rng.choice([0, 0, 1, 3]),
        archive=rng.random() < 0.1,
        poison=rng.random() < 0.1,
        deadly=rng.random() < 0.05,
        vanish=rng.random() < 0.1,
        drains=rng.choice([0, 0, 1]),
        child=rng.random() < 0.25,
    )


class Result(Struct):
    """The outcome of a schedule: its violations and how much happened in it."""

    seed: int
    violations: list[str]
    seconds: float
    steps: int
    commits: int
    counts: dict[str, int]
