"""What a session waits for, in sentences that name who owes the next step. Pure."""

from collections.abc import Callable

from holdfast.bus.head import Call, Head
from holdfast.bus.outline import CommitOutline
from holdfast.bus.times import CLAIM_STALE_US
from holdfast.cli.client.terminal.figures import duration


def waits_for(
    last: CommitOutline, *, now: int, waiting: int, since: Callable[[Call], int], tool_name: Callable[[str], str]
) -> list[str]:
    """At least one sentence. `since` says when a call came into its state, `tool_name` how it is called."""
    head = last.head
    if head.deleted:
        rest = "everything that it had is erased" if head.erased else "what it had is being erased"
        return [f"nothing: it was deleted {_ago(head.deleted, now)}, and {rest}"]
    if head.archived:
        return [f"nothing: it was archived {_ago(head.archived, now)}"]
    found = [*_calls(head, now, since, tool_name), *_requests(last, now)]
    if not found and head.claim is not None:
        found.append(f"its harness {head.claim.by}, since {_for(last.at, now)}")
    if waiting:
        what = "input waits" if waiting == 1 else "inputs wait"
        who = f"{head.claim.by} takes them at its next step" if head.claim else "no harness has claimed the session"
        found.append(f"{waiting} {what} in its inbox: {who}")
    if head.claim is not None and now - head.updated > CLAIM_STALE_US:
        found.append(f"the claim of {head.claim.by} has stood still for {_for(head.updated, now)}: it is taken over")
    return found or [f"a client: it is idle ({head.stop.type})"]


def _requests(last: CommitOutline, now: int) -> list[str]:
    head = last.head
    found: list[str] = []
    for thread in head.threads.values():
        if thread.request:
            by = f", asked by {head.claim.by}" if head.claim else ""
            found.append(f"the model, since {_for(last.at, now)}{by}")
        elif thread.retry_at > now:
            found.append(f"the model: {thread.errors} requests failed, the next is in {_for(now, thread.retry_at)}")
    return found


def _calls(head: Head, now: int, since: Callable[[Call], int], tool_name: Callable[[str], str]) -> list[str]:
    found: list[str] = []
    for call in head.calls:
        name, waited = tool_name(call.name), _for(since(call), now)
        match call.state:
            case "ask":
                found.append(f"the client, to allow or deny {name} {call.id}, since {waited}")
            case "client":
                found.append(f"the client, for the result of {name} {call.id}, since {waited}")
            case "ready" if call.generation:
                hand = head.hands.get(call.hand)
                where = f"on worker {hand.worker}" if hand else "whose worker is gone"
                found.append(f"{name} {call.id} in its {call.hand}, {where}, since {waited}")
            case "ready":
                found.append(f"a {call.hand} for {name} {call.id}, since {waited}")
            case _:
                pass  # it waits for one of the others
    return found


def _for(since: int, now: int) -> str:
    return duration(max(now - since, 0) / 1e6)


def _ago(at: int, now: int) -> str:
    return f"{_for(at, now)} ago"
