"""The six checks of PROTOCOL.md ("What must never happen"), made from outside: log, inbox, files, model requests.

Tool calls made by `journaled` append a line to the run journal, a file in the workspace, each time they run.
"""

import contextlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored
from holdfast.bus.head import waits_for_client
from tests.support.conversation import Conversation
from tests.support.eventually import eventually
from tests.support.model import Json, bash
from tests.support.stack import Stack, key

RUN_JOURNAL = "run-journal"
SEARCH_BYTES = 16 * 1024 * 1024
"""Bytes of a file that are searched at once."""

IDLE_TIMEOUT_S = 30.0
"""Seconds within which the last acks arrive and nudges are taken."""


def journaled(tag: str, then: str = "", **more: Any) -> Json:
    """A step that appends `tag` and the namespaces of the process to the run journal, then runs the command `then`."""
    spaces = "$(readlink /proc/self/ns/net) $(readlink /proc/self/ns/user)"
    return bash(f'echo "{tag} {spaces}" >> /workspace/{RUN_JOURNAL}; {then or f"echo {tag}"}', **more)


def run_journal(stack: Stack, session: str) -> list[str]:
    """The run journal of a session: one line for each run, whether or not its result was stored."""
    found = list((stack.data / "sandbox").glob(f"workspaces/*/{session}/{RUN_JOURNAL}"))
    assert len(found) <= 1, found
    return found[0].read_text().splitlines() if found else []


def tool_runs(stack: Stack, session: str) -> Counter[str]:
    """How often each tag has run."""
    return Counter(line.split()[0] for line in run_journal(stack, session))


async def read_log(stack: Stack, session: str) -> list[Stored]:
    async with stack.bus() as bus:
        return await bus.log.read(key(session), leader=True)


async def check_invariants(
    stack: Stack, *conversations: Conversation, canaries: Iterable[str] = (), allow: str = ""
) -> None:
    """Make all six checks for idle sessions. `allow`: text of an error with which the model may refuse a request."""
    for conversation in conversations:
        await check_session(stack, conversation, allow=allow)
    no_secret_leaked(stack, canaries)


async def check_session(stack: Stack, conversation: Conversation, *, allow: str = "") -> None:
    """Make the five checks that concern one session; it is idle soon."""
    await idle_with_nothing_pending(stack, conversation.id)
    log = await read_log(stack, conversation.id)
    nothing_lost_nothing_twice(log, conversation.sent)
    one_driver_at_a_time(log)
    every_call_has_one_result(log)
    no_call_ran_twice(log, tool_runs(stack, conversation.id))
    ran_in_isolation(run_journal(stack, conversation.id))
    await no_model_request_was_invalid(stack, log, allow)


def nothing_lost_nothing_twice(log: Sequence[Stored], sent: Iterable[str]) -> None:
    """1. Every acknowledged event is in the log exactly once, and no other event is there twice."""
    ids = Counter(event.id for stored in log for event in stored.commit.events)
    twice = [i for i, n in ids.items() if n > 1]
    assert not twice, f"in the log twice: {twice}"
    lost = [i for i in sent if i not in ids]
    assert not lost, f"acknowledged and lost: {lost}"
    counts = [stored.commit.head.count for stored in log]
    assert counts[-1] == sum(len(s.commit.events) for s in log), "the head counts other events than the log holds"


def one_driver_at_a_time(log: Sequence[Stored]) -> None:
    """2. One claim at a time: after a claim is replaced or released, nothing is appended under it."""
    over: set[str] = set()
    current = ""
    owner = ""
    for stored in log:
        claim = stored.commit.head.claim
        now = claim.id if claim else ""
        assert now not in over, f"commit {stored.seq} was appended under the claim {now}, which had ended"
        if current and now == current:
            outside = stored.commit.by != owner and any(_is_of_the_owner(e) for e in stored.commit.events)
            assert not outside, f"commit {stored.seq} of {stored.commit.by} under the claim of {owner}"
        if now != current:
            over.update({current} - {""})
            current, owner = now, claim.by if claim else ""


def _is_of_the_owner(event: ev.Event) -> bool:
    return isinstance(event, ev.AgentEvent | ev.AgentToolResult | ev.ModelRequestStart | ev.ModelRequestEnd)


def every_call_has_one_result(log: Sequence[Stored]) -> None:
    """3a. Every call has one result, unless it waits for the client.

    A client may send a second result for its own tool: it is logged, and the model never sees it.
    """
    last = log[-1].commit.head
    waiting = {call for thread in last.threads for call in waits_for_client(last, thread)}
    calls: set[str] = set()
    answered: Counter[str] = Counter()
    repeated: set[str] = set()
    for stored in log:
        for event in stored.commit.events:
            match event:
                case ev.AgentToolUse() | ev.AgentCustomToolUse():
                    calls.add(event.id)
                case ev.AgentToolResult(tool_use_id=call):
                    answered[call] += 1
                case ev.UserCustomToolResult(custom_tool_use_id=call):
                    repeated.add(call)
                case _:
                    pass
    siblings = {c.id for c in last.calls} if waiting else set[str]()
    closed = answered.keys() | repeated
    assert not calls - closed - waiting - siblings, f"without a result: {calls - closed}"
    assert not [c for c, n in answered.items() if n > 1], f"several results: {answered}"


def no_call_ran_twice(log: Sequence[Stored], ran: Counter[str]) -> None:
    """3b. Each journaled command ran at most once for each call, and at least once for each result without error."""
    calls: Counter[str] = Counter()
    good: Counter[str] = Counter()
    tags: dict[str, str] = {}
    for stored in log:
        for event in stored.commit.events:
            if isinstance(event, ev.AgentToolUse) and (tag := _tag(event)):
                calls[tag] += 1
                tags[event.id] = tag
            if isinstance(event, ev.AgentToolResult) and event.tool_use_id in tags and not event.is_error:
                good[tags[event.tool_use_id]] += 1
    assert ran.keys() <= calls.keys(), f"ran without a call: {ran.keys() - calls.keys()}"
    assert all(ran[t] <= calls[t] for t in calls), f"ran more often than called: {ran} against {calls}"
    assert all(ran[t] >= good[t] for t in calls), f"a good result of what never ran: {ran} against {good}"


def _tag(event: ev.AgentToolUse) -> str:
    found = re.match(r'echo "([\w-]+) ', str(event.input.get("command", "")))
    return found[1] if found and RUN_JOURNAL in str(event.input.get("command")) else ""


async def idle_with_nothing_pending(stack: Stack, session: str) -> None:
    """4. The session is idle and unclaimed, no input waits to be taken, and no model request is due.

    Taken inputs may still wait for their ack: a harness that received one during a foreign claim retries after 10 s.
    """

    async def look() -> bool:
        async with stack.bus() as bus:
            waiting = await bus.inbox.pending(key(session))
            stored = await bus.log.head(key(session), leader=True)
        assert stored, "the session has no log"
        head = stored.commit.head
        waiting = [w.seq for w in waiting if w.above(head.taken)]
        owes = [name for name, thread in head.threads.items() if thread.todo]
        state.update(waiting=waiting, status=head.status, claim=head.claim, taken=head.taken, owes=owes)
        return not waiting and head.claim is None and head.status == "idle" and not owes

    state: dict[str, Any] = {}
    await eventually(look, within=IDLE_TIMEOUT_S, what=f"{session} idle: {state}")


async def no_model_request_was_invalid(stack: Stack, log: Sequence[Stored], allow: str) -> None:
    """The model refused no request of the session as invalid, so its log can be replayed."""
    said = str([e.content for s in log for e in s.commit.events if isinstance(e, ev.UserMessage)])
    refused = [r for r in await stack.model.refused() if not r.fault]
    for record in refused:
        mine = any(mark in said for mark in record.marks) or not record.marks
        assert not mine or (allow and allow in record.error), (record.scenario, record.step, record.error)


def no_secret_leaked(stack: Stack, canaries: Iterable[str] = ()) -> None:
    """5. The keys of the model and of the API, and other canaries, are in no file but their own."""
    kept = {stack.data / "secrets", stack.data / "api.key", stack.data / "run.json"}
    secrets = {stack.model_key: kept, (stack.data / "api.key").read_text().strip(): kept | {stack.log}}
    secrets |= dict.fromkeys(canaries, kept)
    for file in stack.data.rglob("*"):
        if file.is_symlink() or not file.is_file() or file.name.startswith(".run.json."):
            continue  # `.run.json.*` is run.json while it is being replaced
        strange = [s for s, places in secrets.items() if not any(file == p or p in file.parents for p in places)]
        assert not strange or not _holds_one_of(file, strange), f"a secret is in {file}"


def _holds_one_of(file: Path, texts: Sequence[str]) -> bool:
    """Whether the file holds one of the texts. It may be larger than the memory, or be removed meanwhile."""
    searched = [text.encode() for text in texts]
    kept = max(map(len, searched)) - 1
    content = b""
    with contextlib.suppress(FileNotFoundError), file.open("rb") as opened:
        while part := opened.read(SEARCH_BYTES):
            content = content[-kept:] + part
            if any(text in content for text in searched):
                return True
    return False


def ran_in_isolation(lines: Sequence[str]) -> None:
    """6. Every run had network and user namespaces of its own; one that was ended as it began may not name both."""
    ours = {str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("net", "user")}
    found = [set(line.split()[1:]) for line in lines]
    for line, spaces in zip(lines, found, strict=True):
        assert not spaces & ours, f"it ran outside: {line}"
    assert not lines or any(len(spaces) == 2 for spaces in found), lines
