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
from holdfast.bus.readers import Reader, parse_readers
from holdfast.bus.streams import (
    AUDIT,
    DEAD_TASKS_STREAM,
    ERASED_BUCKETS,
    TASK_CONSUMER,
    TASKS_STREAM,
    blob_stream,
    inbox_stream,
    log_stream,
    public_stream,
)

_HEAD: Final = """\
# NATS users of Holdfast, least privilege, for the cells {cells}. Written by
#     python -m holdfast.bus.jetstream.permissions {cells}{readers}
# `holdfast up` uses the file for a0 as it is; for your own server, include it and set a variable
# HOLDFAST_NATS_<USER>_PASSWORD for each user (in the same file, or in the environment of nats-server).
#
# Rules kept here, tried by tests/integration/test_permissions.py:
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

accounts {{
  HOLDFAST {{
    jetstream: enabled
    users: [
"""

PUBLISHER: Final = "publisher"
"""The user of other systems that publish tasks."""

FIRST_TENANT: Final = "default"
"""The tenant of the first API key."""

_MIDDLE: Final = """\
    ]
    exports: [{{ service: "{tasks}", accounts: [PUBLISHERS] }}]
  }}

  # Systems that publish tasks are in an account of their own. JetStream sends the acknowledgement of a publish to
  # whatever reply subject it names, also where its user may not publish: into a log, for example. Here that subject is
  # one of this account, in which there is no stream.
  PUBLISHERS {{
    imports: [{{ service: {{ account: HOLDFAST, subject: "{tasks}" }} }}]
    users: [
"""

_TAIL: Final = "    ]\n  }\n}\n"

_ADMIN: Final = (
    "Provisions, reads the state of streams for `holdfast status`, and releases or drops inputs that were set aside\n"
    "(`holdfast parked`). No service runs with it. $JS.SNAPSHOT is the flow control of `nats stream backup`. STATZ\n"
    "has the number of messages of this account (`make bench`)."
)
_SESSION: Final = (
    "The edge: writes and reads sessions for clients, keeps agents, environments and API keys, asks the vault. It\n"
    "frees what a dead harness held: pings it, and refuses its deliveries in its place. It erases deleted sessions;\n"
    "nobody else may take anything out of a log. It counts what waits, for metrics, and adds to the bucket `audit`,\n"
    "which keeps everything for ever. It takes tasks from their queue, and keeps those that died."
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
    "Another system: publishes tasks of any kind for the tenant `default`, and nothing else. It can neither read a\n"
    "session nor write to one. For another tenant, or for some kinds only, add a user with other subjects, and an\n"
    "export and an import for the tenant: the subject is its proof."
)
_VAULT: Final = "Answers what it is asked, and says nothing else."


def user_of(service: str, cell: str) -> str:
    """The NATS user of a service that works for one cell: the name of the service, with the cell after the first."""
    return service if cell == FIRST_CELL else f"{service}_{cell}"


def users(cells: Sequence[str]) -> list[str]:
    """All NATS users for these cells but the readers of public events."""
    each = [user_of(service, cell) for cell in cells for service in ("harness", "sandbox")]
    return ["admin", "session", *each, "vault", PUBLISHER]


def password_variable(user: str) -> str:
    """The variable that nats-server reads for the password of the user."""
    return f"HOLDFAST_NATS_{user.upper()}_PASSWORD"


def permissions(cells: Sequence[str], readers: Sequence[Reader] = ()) -> str:
    """The configuration of nats-server for these cells, and for readers of public events.

    Raises ValueError if there is no cell, or one is none.
    """
    if not cells or not all(map(is_cell, cells)):
        raise ValueError("give the names of the cells: one to eight lower-case letters and digits each")
    given = "".join(
        f" \\\n#         --reader '{reader.name}:{reader.tenant}:{'+'.join(reader.types)}'" for reader in readers
    )
    parts = [_HEAD.format(cells=" ".join(cells), readers=given)]
    parked = _for_each(cells, lambda cell: [f"in.{cell}.>", f"$KV.parked.{cell}.>"])
    parts.append(_user("admin", _ADMIN, ["$JS.API.>", "$JS.SNAPSHOT.>", "$SYS.REQ.ACCOUNT.PING.STATZ", *parked], []))
    parts.append(_session(cells))
    for cell in cells:
        parts += [_harness(cell), _sandbox(cell)]
    parts.append(_user("vault", _VAULT, None, ["vault.req.> vault"], answers="1m"))
    parts += [_reader(cells, reader) for reader in readers]
    tasks = f"task.{FIRST_TENANT}.*"
    publisher = _user(PUBLISHER, _PUBLISHER, [tasks], [])
    return parts[0] + "\n".join(parts[1:]) + _MIDDLE.format(tasks=tasks) + publisher + _TAIL


def _user(user: str, comment: str, publish: list[str] | None, subscribe: list[str], *, answers: str = "") -> str:
    """One entry. `publish` None: only answers; `answers`: for how long a request may be answered."""
    lines = [f"      # {line}" for line in comment.splitlines()]
    lines.append(f"      {{ user: {user}, password: ${password_variable(user)}, permissions: {{")
    lines += ['          publish: { deny: [">"] }'] if publish is None else _subjects("publish", publish)
    lines += _subjects("subscribe", [f"_INBOX_{user}.>", *subscribe])
    if answers:
        lines.append(f'          allow_responses: {{ max: 1, expires: "{answers}" }}')
    lines.append("      } }\n")
    return "\n".join(lines)


def _subjects(what: str, subjects: list[str]) -> list[str]:
    if len(subjects) == 1:
        return [f'          {what}: ["{subjects[0]}"]']
    return [f"          {what}: [", *(f'            "{subject}"' for subject in subjects), "          ]"]


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


def _reader(cells: Sequence[str], reader: Reader) -> str:
    def of_cell(cell: str) -> list[str]:
        consumer = f"{public_stream(cell)}.{reader.user}"
        return [
            f"$JS.API.CONSUMER.MSG.NEXT.{consumer}", f"$JS.API.CONSUMER.INFO.{consumer}", f"$JS.ACK.{consumer}.>"
        ]  # fmt: skip

    comment = _READER.format(
        tenant="all tenants" if reader.tenant == "*" else reader.tenant, types=" ".join(reader.types)
    )
    return _user(reader.user, comment, _for_each(cells, of_cell), [])


def _session(cells: Sequence[str]) -> str:
    def of_cell(cell: str) -> list[str]:
        writes = [f"ev.{cell}.>", f"in.{cell}.>", f"$O.blobs.C.{cell}.>", f"cmd.hand.{cell}.release", f"kept.{cell}.>"]
        frees = [f"$KV.hands.r.{cell}.>", f"cmd.harness.{cell}.*.ping", f"$JS.ACK.INBOX_{cell}.harness.>"]
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

    buckets = ("agents", "envs", "keys")
    publish = _for_each(cells, of_cell)
    publish += [
        "again.*.*", "dead.*.*", f"$JS.API.CONSUMER.MSG.NEXT.{TASKS_STREAM}.{TASK_CONSUMER}",
        f"$JS.ACK.{TASKS_STREAM}.{TASK_CONSUMER}.>", f"$JS.API.DIRECT.GET.{DEAD_TASKS_STREAM}",
        f"$JS.API.STREAM.MSG.GET.{DEAD_TASKS_STREAM}", f"$JS.API.STREAM.MSG.DELETE.{DEAD_TASKS_STREAM}",
    ]  # fmt: skip
    publish += _for_each(("bindings", "tasks"), lambda bucket: [f"$KV.{bucket}.>", *_reads_bucket(bucket)])
    publish += ["$JS.API.STREAM.MSG.GET.KV_hands", "$JS.API.STREAM.INFO.KV_parked", "vault.req.admin", "vault.req.key"]
    publish += [subject for bucket in ERASED_BUCKETS for subject in (_erases(bucket), *_reads_bucket(bucket))]
    publish += _for_each(buckets, lambda bucket: [f"$KV.{bucket}.>", *_reads_bucket(bucket)])
    publish += [f"$KV.{AUDIT}.>", *_reads_bucket(AUDIT)]
    subscribe = _for_each(cells, lambda cell: [f"live.{cell}.>", f"delta.{cell}.>", f"out.{cell}.>"])
    subscribe += [f"kv.{bucket}.>" for bucket in buckets]
    return _user("session", _SESSION, publish, subscribe)


def _harness(cell: str) -> str:
    publish = [
        f"ev.{cell}.>", f"in.{cell}.>", f"delta.{cell}.>", f"$O.blobs.C.{cell}.>", f"$KV.snap.{cell}.>",
        f"$KV.parked.{cell}.>",
        f"cmd.hand.{cell}.provision.*", f"cmd.hand.{cell}.w.>",
        f"$JS.API.CONSUMER.MSG.NEXT.INBOX_{cell}.harness", f"$JS.ACK.INBOX_{cell}.harness.>",
        f"cmd.harness.{cell}.*.take", f"kept.{cell}.>",
        *_reads(cell), f"$JS.API.DIRECT.GET.KV_snap.$KV.snap.{cell}.>", _erases("snap"),
    ]  # fmt: skip
    subscribe = [
        f"arrived.*.{cell}.>", f"cmd.harness.{cell}.*.ping", f"cmd.harness.{cell}.*.take", f"kept.{cell}.>"
    ]  # fmt: skip
    return _user(user_of("harness", cell), _HARNESS, publish, subscribe, answers="1m")


def _sandbox(cell: str) -> str:
    publish = [
        f"res.{cell}.>", f"out.{cell}.>", f"$O.blobs.C.{cell}.>",
        f"$KV.hands.s.{cell}.>", f"$KV.hands.w.{cell}.>",
        f"$JS.API.DIRECT.GET.LOG_{cell}.ev.{cell}.>", f"$JS.API.STREAM.INFO.INBOX_{cell}",
        *_reads_bucket("hands"),
    ]  # fmt: skip
    subscribe = [
        f"cmd.hand.{cell}.provision.sandbox sandbox", f"cmd.hand.{cell}.release", f"cmd.hand.{cell}.w.>",
        f"kv.hands.w.{cell}.>",
    ]  # fmt: skip
    return _user(user_of("sandbox", cell), _SANDBOX, publish, subscribe, answers="5m")


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
