"""The models are not empty: the schedules in which the rules hold contain the events that the rules are about."""

import re
from collections.abc import Hashable

import pytest

from tests.model.__main__ import MODELS

REACHED = {
    "arrivals: a sequence for each subject": [
        "in # is delivered: claimed at once",
        "res # is delivered: claimed after a read",
        "the owner hears res #",
        "the owner reads the inbox and takes",
        "res # is delivered: done, ack",
    ],
    "claim: 2 inputs, 2 replicas, crashes, slow owners, lost answers, updates": [
        "NAKs # with a delay",
        "finds that the claim by # has stood still",
        "(takeover)",
        "commit is found, still its claim: True",
        "commit is found, still its claim: False",
    ],
    "claim: warm: 1 input, 2 replicas, all faults": [
        "claims at once, its knowledge is fresh: True",
        "claims at once, its knowledge is fresh: False",
        "claim with # is refused",
        "the delayed claim lands",
        "finds its release",
        "reads the head (follower)",
        "closes the turn of # with session.error",
    ],
    "claim: notice claims, also a false one": [
        "hears that the owner is dead (true: True)",
        "hears that the owner is dead (true: False)",
        "append is refused, still its claim: False",
    ],
    "deletes: late writers, two erasers that die": [
        "the harness looks, deleted: True",
        "the harness dies",
        "the body is stored",
        "E# erases the snapshot (early)",
        "E# dies",
        "E# appends that all is erased",
    ],
    "public: two publishers, deaths, late requests, a delete": [
        "P# is refused with b#",
        "P# sends a# and dies or gives up",
        "the late request arrives",
        "the eraser erases public events",
        "P# reads the last message, goes on with # behind #",
    ],
    "webhooks: two replicas, deaths, a stream made anew": [
        "R# is refused with event #",
        "R# dies",
        "the stream is made anew",
        "R# records event #",
        "the webhook is made",
    ],
    "order: three calls, approvals, an interrupt": [
        "the client allows #",
        "an owner sends #",
        "an owner appends the result of #",
        "an interrupt closes all calls",
    ],
    "placement: 2 hosts, 4 workers, deaths, lost answers": [
        "worker # declines: the files are on host #",
        "worker # declines: worker # has the hand",
        "worker # has the hand already, and is bound",
        "worker # finds another placement",
        "the hand on # is gone",
        "nobody makes the hand: an error result",
    ],
    "parking: 2 inputs, 2 replicas, crashes, releases": [
        "the commit of replica # is refused",
        "an operator releases #",
        "# is stored again",
        "# is no longer set aside",
        "the operator's command ends early",
    ],
    "requests: the output of a lost claim never enters the log": [
        "finds its start of #",
        "sends the start of # again, unchanged",
        "drops request # unread",
        "the claim is lost: dropped",
        "the late start arrives",
    ],
    "tasks: published twice, two edges, a session ends": [
        "message # is published (again)",
        "the dedupe window ends",
        "finds session # archived",
        "finds session # deleted",
        "into session #: a duplicate",
        "looks for the input: True",
        "looks once more: archived",
        "cannot set the record to done",
        "cannot set the record to open",
        "sets or reads the key: session #",
    ],
    "tasks: the binding comes late, sent again": [
        "stores message # as dead",
        "sets the record to dead",
        "reads the binding: True",
        "erases a dead letter",
    ],
    "calls: 1 call, 2 generations, all faults": [
        "publishes the result of call # (answered)",
        "publishes the result of call # (runs)",
        "the owner appends the result of call #, confirms it",
        "the owner drops the result of call # from generation #: not open",
        "the owner drops that generation # is gone",
        "it reports that generation # is gone",
        "is asked for call # -> result",
        "the confirmation of call # is lost",
        "gone: the owner appends that generation # and its calls are lost",
        "if compared: False",
    ],
    "calls: 1 call, an interrupt, all faults": [
        "the owner cancels call #",
        "is asked for call # -> refused",
        "the owner takes the interrupt",
    ],
}
SCENARIOS = {scenario.name: scenario for model in MODELS for scenario in model.SCENARIOS}


@pytest.mark.parametrize("name", REACHED)
def test_the_events_are_reached(name: str) -> None:
    model = SCENARIOS[name].model()
    seen: set[Hashable] = {model.initial()}
    todo, labels = [model.initial()], set[str]()
    while todo:
        for step in model.steps(todo.pop()):
            labels.add(re.sub(r"\d+", "#", step.label))
            if step.after not in seen:
                seen.add(step.after)
                todo.append(step.after)
    missing = [text for text in REACHED[name] if not any(text in label for label in labels)]
    assert not missing
