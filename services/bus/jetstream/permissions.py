"""The permissions of the NATS users for a list of cells: `python -m holdfast.bus.jetstream.permissions a0 a1`.

The output for the first cell alone is `deploy/nats/permissions.conf`. A permission token has no partial wildcard, so
each user is given its cells by name. The session service and the vault service work for all cells. Each cell has a
harness and a sandbox user of its own, which have no permission for another cell.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Final

from holdfast.bus.ids import FIRST_CELL, is_cell
from holdfast.bus.jetstream.accounts import HOLDFAST, STATE_OF_ACCOUNT, Account, Import, User, render, services, streams
from holdfast.bus.readers import Reader, parse_readers
from holdfast.bus.streams import (
    AUDIT,
    DEAD_TASKS_STREAM,
    ERASED_BUCKETS,
    FILE_CONTENTS,
    FILES,
    FILES_STREAM,
    TASK_CONSUMER,
    TASKS_STREAM,
    blob_stream,
    inbox_stream,
    log_stream,
    public_stream,
)
from holdfast.bus.subjects import all_file_chunks

_HEAD: Final = """\
# NATS users of Holdfast, least privilege, for the cells {cells}. Written by
#     python -m holdfast.bus.jetstream.permissions {cells}{readers}
# `holdfast up` uses the file for a0 as it is; for your own server, include it and set a variable
# HOLDFAST_NATS_<USER>_PASSWORD for each user (in the same file, or in the environment of nats-server).
#
# Rules kept here, tried by tests/integration/test_permissions.py and test_reply_subjects.py:
#   - only admin creates, changes or deletes streams and consumers; services run `python -m
#     holdfast.bus.jetstream.provision` once for each cell;
#   - each user has an inbox prefix of its own, so nobody hears the answers of another;
#   - harness and sandbox have nothing below vault.>; the vault speaks only when it is asked;
#   - another system can publish tasks of its tenant, and nothing else;
#   - harness and sandbox of a cell have nothing of another cell, but for the placements in the bucket `hands`, which
#     every sandbox user may read;
#   - a reader of public events may ask for messages of its own consumer and acknowledge; SECURITY.md says why it must
#     be trusted all the same: the server sends an answer wherever the request says;
#   - no stream may cover vault.> or an inbox (services/bus/jetstream/provision.py refuses it).
#
# JetStream sends its answer to whatever reply subject a request names, also where the user that asked may not publish:
# into a log, for example. So who is not trusted with the streams is in an account of its own and imports what it may
# ask: the answer then stays in that account, in which there is no stream.

"""

PUBLISHER: Final = "publisher"
"""The user of other systems that publish tasks."""

FIRST_TENANT: Final = "default"
"""The tenant of the first API key."""

_NEXT_ANSWER: Final = "10s"
"""The longest pause between two answers to a pull or a batched read of a harness or a worker, with a wide margin."""

_LONGEST_WAIT: Final = "11m"
"""For how long a request for a task may be answered; its sender may wait ten minutes for the end of the turn."""

_OF_HOLDFAST: Final = "The streams, and the users that work on them."
_OF_PUBLISHERS: Final = "Systems that publish tasks."

_ADMIN: Final = (
    "Provisions, reads the state of streams for `holdfast status`, and releases or drops inputs that were set aside\n"
    "(`holdfast parked`). No service runs with it. $JS.SNAPSHOT is the flow control of `nats stream backup`. STATZ\n"
    "has the name of the account of a user, and its number of messages (`make bench`)."
)
_SESSION: Final = (
    "The edge: writes and reads sessions for clients, keeps agents, environments, API keys and webhooks, asks the\n"
    "vault. It frees what a dead harness held: pings it, and refuses its deliveries in its place. It erases deleted\n"
    "sessions; nobody else may take anything out of a log. It counts what waits, for metrics, and adds to the bucket\n"
    "`audit`, which keeps everything for ever. It takes tasks from their queue, keeps those that died, and answers\n"
    "requests for tasks. It alone has the files of clients."
)
_HARNESS: Final = (
    "Drives sessions: takes from the inbox, appends to the log, keeps snapshots, calls sandboxes, sends deltas.\n"
    "It erases a snapshot before it writes the next one; a lost snapshot only costs reading."
)
_SANDBOX: Final = (
    "Runs tools: looks at the head of a session (its last commit, by subject) before it runs a call, shows what it\n"
    "prints on out.>, and puts the result on res.>. It may not publish what clients say, nor read a log by sequence."
)
_READER: Final = "Reads public events of {tenant} of the types {types}, by the filter of its consumer."
_PUBLISHER: Final = (
    "Another system: publishes tasks of any kind for the tenant `default`, or sends them as requests. It can neither\n"
    "read a session nor write to one. For another tenant, or for some kinds only, add an account like this one, with\n"
    "other subjects, and exports for it: the subject is its proof."
)
_VAULT: Final = "Answers what it is asked, and says nothing else."


def user_of(service: str, cell: str) -> str:
    """The NATS user of a service that works for one cell: the name of the service, with the cell after the first."""
    return service if cell == FIRST_CELL else f"{service}_{cell}"


def users(cells: Sequence[str]) -> list[str]:
    """All NATS users for these cells but the readers of public events."""
    each = [user_of(service, cell) for cell in cells for service in ("harness", "sandbox")]
    return ["admin", "session", *each, "vault", PUBLISHER]


def permissions(cells: Sequence[str], readers: Sequence[Reader] = ()) -> str:
    """The configuration of nats-server for these cells, and for readers of public events.

    Raises ValueError if there is no cell, or one is none.
    """
    if not cells or not all(map(is_cell, cells)):
        raise ValueError("give the names of the cells: one to eight lower-case letters and digits each")
    given = "".join(
        f" \\\n#         --reader '{reader.name}:{reader.tenant}:{'+'.join(reader.types)}'" for reader in readers
    )
    return _HEAD.format(cells=" ".join(cells), readers=given) + render(accounts(cells, readers))


def accounts(cells: Sequence[str], readers: Sequence[Reader] = ()) -> list[Account]:
    """The accounts for these cells and readers; the first is the one that has the streams."""
    tasks, asks = f"task.{FIRST_TENANT}.*", f"ask.{FIRST_TENANT}.*"
    user = User(PUBLISHER, _PUBLISHER, [tasks, asks])
    imports = [*services([tasks]), Import(HOLDFAST, asks, answer_within=_LONGEST_WAIT)]
    publishers = Account("PUBLISHERS", _OF_PUBLISHERS, [user], imports)
    of_cells = [account for cell in cells for account in (_harness(cell), _sandbox(cell))]
    return [_holdfast(cells), *of_cells, *(_reader(cells, reader) for reader in readers), publishers]


def _holdfast(cells: Sequence[str]) -> Account:
    parked = _for_each(cells, lambda cell: [f"in.{cell}.>", f"$KV.parked.{cell}.>"])
    admin = User("admin", _ADMIN, ["$JS.API.>", "$JS.SNAPSHOT.>", STATE_OF_ACCOUNT, *parked])
    vault = User("vault", _VAULT, None, ["vault.req.> vault"], answers="1m")
    imports: list[Import] = []
    for cell in cells:
        harness, sandbox = _harness_account(cell), _sandbox_account(cell)
        imports += [*services([_pings(cell)], of=harness), *services([_release(cell)], of=sandbox)]
        imports += [*streams([f"delta.{cell}.>"], of=harness), *streams([f"out.{cell}.>"], of=sandbox)]
    return Account(HOLDFAST, _OF_HOLDFAST, [admin, _session(cells), vault], imports)


def _for_each(cells: Sequence[str], subjects: Callable[[str], list[str]]) -> list[str]:
    return [subject for cell in cells for subject in subjects(cell)]


def _reads(cell: str) -> list[str]:
    """Log, inbox and bodies of a cell."""
    return [
        f"$JS.API.DIRECT.GET.LOG_{cell}", f"$JS.API.DIRECT.GET.LOG_{cell}.>", f"$JS.API.STREAM.MSG.GET.LOG_{cell}",
        f"$JS.API.DIRECT.GET.INBOX_{cell}", f"$JS.API.STREAM.MSG.GET.INBOX_{cell}", f"$JS.API.STREAM.INFO.INBOX_{cell}",
        f"$JS.API.DIRECT.GET.OBJ_blobs_{cell}.>", f"$JS.API.STREAM.MSG.GET.OBJ_blobs_{cell}",
    ]  # fmt: skip


def _reads_bucket(bucket: str) -> list[str]:
    return [f"$JS.API.DIRECT.GET.KV_{bucket}", f"$JS.API.STREAM.MSG.GET.KV_{bucket}"]


def _erases(bucket: str) -> str:
    """Erasing in a bucket, by sequence, so that it cannot be limited to a cell."""
    return f"$JS.API.STREAM.MSG.DELETE.KV_{bucket}"


def _streams_of(cell: str) -> list[str]:
    return [log_stream(cell), inbox_stream(cell), blob_stream(cell)]


def _publishes(cell: str) -> list[str]:
    """Public events: to publish, to read where to go on, to erase."""
    stream = public_stream(cell)
    of_stream = ("DIRECT.GET", "STREAM.MSG.GET", "STREAM.INFO", "STREAM.MSG.DELETE")
    return [f"pub.{cell}.>", *(f"$JS.API.{request}.{stream}" for request in of_stream)]


def _keeps_files() -> list[str]:
    """The bytes of files: to store, to read, to erase."""
    requests = ("DIRECT.GET", "STREAM.MSG.GET", "STREAM.MSG.DELETE")
    reads = [f"$JS.API.{request}.{FILES_STREAM}" for request in requests]
    return [all_file_chunks(), *reads, f"$JS.API.DIRECT.GET.{FILES_STREAM}.>"]


def _reader(cells: Sequence[str], reader: Reader) -> Account:
    def of_cell(cell: str) -> list[str]:
        consumer = f"{public_stream(cell)}.{reader.user}"
        return [
            f"$JS.API.CONSUMER.MSG.NEXT.{consumer}", f"$JS.API.CONSUMER.INFO.{consumer}", f"$JS.ACK.{consumer}.>"
        ]  # fmt: skip

    tenant = "all tenants" if reader.tenant == "*" else reader.tenant
    comment = _READER.format(tenant=tenant, types=" ".join(reader.types))
    asks = _for_each(cells, of_cell)
    account = f"READER_{reader.name}"
    return Account(account, "A reader of public events.", [User(reader.user, comment, asks)], services(asks))


def _session(cells: Sequence[str]) -> User:
    def of_cell(cell: str) -> list[str]:
        writes = [f"ev.{cell}.>", f"in.{cell}.>", f"$O.blobs.C.{cell}.>", _release(cell), f"kept.{cell}.>"]
        frees = [f"$KV.hands.r.{cell}.>", _pings(cell), f"$JS.ACK.INBOX_{cell}.harness.>"]
        counts = [f"$JS.API.CONSUMER.INFO.INBOX_{cell}.harness"]
        erases = [f"$JS.API.STREAM.MSG.DELETE.{stream}" for stream in _streams_of(cell)]
        return [
            *writes,
            *frees,
            *counts,
            *erases,
            *_reads(cell),
            f"$JS.API.DIRECT.GET.OBJ_blobs_{cell}",
            *_publishes(cell),
        ]

    buckets = ("agents", "envs", "keys", "webhooks", "gates")
    publish = _for_each(cells, of_cell)
    publish += [
        "again.*.*", "dead.*.*", f"$JS.API.CONSUMER.MSG.NEXT.{TASKS_STREAM}.{TASK_CONSUMER}",
        f"$JS.API.CONSUMER.INFO.{TASKS_STREAM}.{TASK_CONSUMER}", f"$JS.ACK.{TASKS_STREAM}.{TASK_CONSUMER}.>",
        f"$JS.API.STREAM.MSG.GET.{TASKS_STREAM}",
        f"$JS.API.DIRECT.GET.{DEAD_TASKS_STREAM}",
        f"$JS.API.STREAM.MSG.GET.{DEAD_TASKS_STREAM}", f"$JS.API.STREAM.MSG.DELETE.{DEAD_TASKS_STREAM}",
    ]  # fmt: skip
    publish += _for_each(("bindings", "tasks"), lambda bucket: [f"$KV.{bucket}.>", *_reads_bucket(bucket)])
    publish += ["$JS.API.STREAM.MSG.GET.KV_hands", "$JS.API.STREAM.INFO.KV_parked"]
    publish += ["vault.req.admin", "vault.req.key", "vault.req.sign"]
    publish += [subject for bucket in ERASED_BUCKETS for subject in (_erases(bucket), *_reads_bucket(bucket))]
    publish += _for_each(buckets, lambda bucket: [f"$KV.{bucket}.>", *_reads_bucket(bucket)])
    publish += [f"$KV.{AUDIT}.>", *_reads_bucket(AUDIT)]
    publish += [f"$KV.{FILES}.>", f"$KV.{FILE_CONTENTS}.>", *_reads_bucket(FILE_CONTENTS), *_keeps_files()]
    subscribe = _for_each(cells, lambda cell: [f"live.{cell}.>", f"delta.{cell}.>", f"out.{cell}.>"])
    subscribe += [*(f"kv.{bucket}.>" for bucket in (*buckets, FILES, FILE_CONTENTS)), "ask.*.* session"]
    return User("session", _SESSION, publish, subscribe, answers=_LONGEST_WAIT)


def _harness(cell: str) -> Account:
    hands = [f"cmd.hand.{cell}.provision.*", f"cmd.hand.{cell}.w.>"]
    among_themselves = [f"cmd.harness.{cell}.*.take", f"kept.{cell}.>"]
    heard = [f"arrived.*.{cell}.>", f"kept.{cell}.>"]
    asks = [
        f"ev.{cell}.>", f"in.{cell}.>", f"$O.blobs.C.{cell}.>", f"$KV.snap.{cell}.>", f"$KV.parked.{cell}.>",
        f"$JS.API.CONSUMER.MSG.NEXT.INBOX_{cell}.harness", f"$JS.ACK.INBOX_{cell}.harness.>",
        *_reads(cell), f"$JS.API.DIRECT.GET.KV_snap.$KV.snap.{cell}.>", _erases("snap"),
    ]  # fmt: skip
    publish = [*asks, *hands, f"delta.{cell}.>", *among_themselves, STATE_OF_ACCOUNT]
    user = User(user_of("harness", cell), _HARNESS, publish, [*heard, _pings(cell), among_themselves[0]], answers="1m")
    imports = [*services(asks, last_after=_NEXT_ANSWER), *services(hands, of=_sandbox_account(cell)), *streams(heard)]
    return Account(_harness_account(cell), f"Harnesses of the cell {cell}.", [user], imports)


def _sandbox(cell: str) -> Account:
    asks = [
        f"res.{cell}.>", f"$O.blobs.C.{cell}.>", f"$KV.hands.s.{cell}.>", f"$KV.hands.w.{cell}.>",
        f"$JS.API.DIRECT.GET.LOG_{cell}.ev.{cell}.>", f"$JS.API.STREAM.INFO.INBOX_{cell}",
        *_reads_bucket("hands"),
    ]  # fmt: skip
    workers = [f"kv.hands.w.{cell}.>"]
    requests = [f"cmd.hand.{cell}.provision.sandbox sandbox", _release(cell), f"cmd.hand.{cell}.w.>"]
    publish = [*asks, f"out.{cell}.>", STATE_OF_ACCOUNT]
    user = User(user_of("sandbox", cell), _SANDBOX, publish, [*requests, *workers], answers="5m")
    imports = [*services(asks, last_after=_NEXT_ANSWER), *streams(workers)]
    return Account(_sandbox_account(cell), f"Sandbox workers of the cell {cell}.", [user], imports)


def _harness_account(cell: str) -> str:
    return f"HARNESS_{cell}"


def _sandbox_account(cell: str) -> str:
    return f"SANDBOX_{cell}"


def _pings(cell: str) -> str:
    """Requests of the session service to harnesses."""
    return f"cmd.harness.{cell}.*.ping"


def _release(cell: str) -> str:
    """Requests of the session service to all sandbox workers."""
    return f"cmd.hand.{cell}.release"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="permissions", description="Prints NATS users and what they may do.")
    parser.add_argument("cells", nargs="*", help="one to eight lower-case letters and digits each")
    parser.add_argument(
        "--reader", action="append", default=[], metavar="NAME:TENANT:TYPE+TYPE", help="a reader of public events"
    )
    options = parser.parse_args(arguments)
    try:
        text = permissions(list(dict.fromkeys(options.cells)), parse_readers(",".join(options.reader)))
    except ValueError as exc:
        print(f"permissions: {exc}", file=sys.stderr)  # noqa: T201
        return 2
    print(text, end="")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
