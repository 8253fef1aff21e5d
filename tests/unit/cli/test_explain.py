"""Explanations of the recorded sessions of every release: sums that must agree, and nothing that was said."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.bus.head import Call, Claim, Hand, Head, Thread
from holdfast.bus.outline import CommitOutline, decode_outline, state_of
from holdfast.cli.explain.analysis import explain
from holdfast.cli.explain.explanation import Explanation
from holdfast.cli.explain.next_step import waits_for
from holdfast.cli.explain.text import explanation_text
from holdfast.process.model_catalogue import load_catalogue
from tests.golden.history import Line

HISTORIES = sorted((Path(__file__).parents[2] / "golden" / "histories").glob("*/*"))
SECOND = 1_000_000


def lines(folder: Path) -> list[Line]:
    return [msgspec.json.decode(line, type=Line) for line in (folder / "log.jsonl").read_bytes().splitlines()]


def explained(folder: Path, after: int = 5 * SECOND) -> tuple[Explanation, list[CommitOutline]]:
    commits = [decode_outline(bytes(line.commit)) for line in lines(folder)]
    now = commits[-1].at + after
    return explain("sesn_a0_x", commits, now=now, waiting=0, catalogue=load_catalogue()), commits


def history(name: str) -> Path:
    return next(folder for folder in HISTORIES if folder.name == name)


@pytest.mark.parametrize("folder", HISTORIES, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_the_parts_of_an_explanation_add_up(folder: Path) -> None:
    found, commits = explained(folder)
    last = commits[-1].head
    assert abs(sum(found.spent.values()) * 1e6 - (found.now - commits[0].at)) < 10
    assert not {state for state in found.spent if found.spent[state] < 0}
    used = last.usage
    assert (found.tokens.input, found.tokens.output) == (used.input_tokens, used.output_tokens)
    assert sum(turn.tokens.output for turn in found.turns) == used.output_tokens
    assert sum(turn.requests for turn in found.turns) == found.requests.count
    assert found.waits_for
    assert msgspec.json.decode(msgspec.json.encode(found), type=Explanation) == found


def content(value: Any, *, inside: bool = False) -> list[str]:
    """The texts below the fields that hold what was said."""
    match value:
        case str():
            return [value] if inside else []
        case dict():
            fields = (
                "content",
                "input",
                "text",
                "_block",
                "_summary",
                "title",
                "metadata",
                "message",
                "system",
                "name",
            )
            return [t for key, v in value.items() for t in content(v, inside=inside or key in fields)]
        case list():
            return [t for v in value for t in content(v, inside=inside)]
        case _:
            return []


@pytest.mark.parametrize("folder", HISTORIES, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_no_text_of_an_event_is_in_an_explanation(folder: Path) -> None:
    found, _ = explained(folder)
    text = explanation_text(found) + msgspec.json.encode(found).decode()
    said = [t for line in lines(folder) for t in content(msgspec.json.decode(line.commit)["events"])]
    words = {word for t in said for word in re.findall(r"\w{9,}", t)}
    own = set(re.findall(r"\w{9,}", Path(explain.__code__.co_filename).read_text())) | {"requests", "retries_exhausted"}
    assert not {word for word in words - own if re.search(rf"\b{word}\b", text)}


def test_failures_are_told_by_what_failed() -> None:
    kinds = {f.kind for f in explained(history("model_errors"))[0].failures}
    assert {"model", "session"} <= kinds
    sandbox = [f for f in explained(history("sandbox_lost"))[0].failures if f.kind == "sandbox"]
    assert len(sandbox) == 1
    assert "open calls" in sandbox[0].text
    assert explained(history("plain"))[0].failures == []


def test_time_at_rest_and_time_for_the_client_are_not_the_same() -> None:
    assert "client" in explained(history("confirmations"))[0].spent
    resting = explained(history("plain"), after=3600 * SECOND)[0]
    assert resting.spent["rest"] >= 3600


# --- what a session waits for ------------------------------------------------------------------------------------


def waits(head: Head, *, now: int = 100 * SECOND, waiting: int = 0) -> list[str]:
    last = CommitOutline(id="cmt_1", at=90 * SECOND, by="h", head=head, events=[])
    return waits_for(last, now=now, waiting=waiting, since=lambda _: 80 * SECOND, tool_name=lambda name: name)


CLAIM = Claim(id="clm_1", by="harness-1-x", trigger=1)


def test_every_state_has_a_sentence_that_names_who_owes_the_next_step() -> None:
    running = Head(threads={"": Thread(status="running")}, claim=CLAIM, updated=90 * SECOND)
    asked = Head(threads={"": Thread(status="running", request="r")}, claim=CLAIM, updated=90 * SECOND)
    called = Head(
        calls=(Call("c", "bash", "ready", "g", hand="sandbox"),), hands={"sandbox": Hand("g", "wrk_1")}, claim=CLAIM,
        updated=90 * SECOND,
    )  # fmt: skip
    unbound = Head(calls=(Call("c", "bash", "ready", hand="sandbox"),), claim=CLAIM, updated=90 * SECOND)
    asking = Head(calls=(Call("c", "bash", "ask", hand="sandbox"), Call("d", "bash", "held", hand="sandbox")))
    retrying = Head(threads={"": Thread(status="rescheduling", retry_at=160 * SECOND, errors=2)})
    assert waits(running) == ["its harness harness-1-x, since 10 s"]
    assert waits(asked) == ["the model, since 10 s, asked by harness-1-x"]
    assert waits(called) == ["bash c in its sandbox, on worker wrk_1, since 20 s"]
    assert waits(unbound) == ["a sandbox for bash c, since 20 s"]
    assert waits(asking) == ["the client, to allow or deny bash c, since 20 s"]
    assert waits(retrying) == ["the model: 2 requests failed, the next is in 1 min 0 s"]
    assert waits(Head()) == ["a client: it is idle (end_turn)"]
    assert waits(Head(), waiting=2) == ["2 inputs wait in its inbox: no harness has claimed the session"]
    assert waits(Head(archived=40 * SECOND)) == ["nothing: it was archived 1 min 0 s ago"]
    stale = waits(running, now=90 * SECOND + 3600 * SECOND)
    assert "the claim of harness-1-x has stood still for 1 h 0 min: it is taken over" in stale
    assert [state_of(h) for h in (running, asked, called, unbound, asking, retrying, Head())] == [
        "harness", "model", "tools", "sandbox", "client", "retry", "rest",
    ]  # fmt: skip


def test_a_takeover_is_a_failure_of_the_earlier_harness() -> None:
    def commit(at: int, head: Head, by: str) -> CommitOutline:
        return CommitOutline(id=f"c{at}", at=at, by=by, head=head, events=[])

    first = commit(SECOND, Head(claim=CLAIM, updated=SECOND), "harness-1-x")
    other = Claim(id="clm_2", by="harness-2-y", trigger=1, failures=1)
    second = commit(3 * SECOND, Head(claim=other, updated=3 * SECOND), "harness-2-y")
    found = explain("s", [first, second], now=4 * SECOND, waiting=0, catalogue=load_catalogue())
    assert [f.text for f in found.failures] == ["harness-1-x gave no sign; harness-2-y took over after 2.0 s"]
    assert [(d.name, d.takeovers) for d in found.drivers] == [("harness-1-x", 0), ("harness-2-y", 1)]
