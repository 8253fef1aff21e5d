"""The subjects; no other module spells one. Each token from outside is checked to be a single token. Pure.

Every subject of a session begins with its kind, its cell, its tenant and its id, so that the streams of two cells do
not overlap, and permissions can be given for each cell.
"""

from holdfast.bus.ids import Key, is_cell, is_token
from holdfast.bus.inputs import Source


def _token(text: str) -> str:
    if not is_token(text):
        raise ValueError(f"not a subject token: {text[:40]!r}")
    return text


def _cell(text: str) -> str:
    if not is_cell(text):
        raise ValueError(f"not the name of a cell: {text[:40]!r}")
    return text


def _key(key: Key) -> str:
    return f"{_cell(key.cell)}.{_token(key.tenant)}.{_token(key.session)}"


# --- one session -------------------------------------------------------------------------------------------------


def log(key: Key) -> str:
    """The one literal subject of a session's log."""
    return f"ev.{_key(key)}"


def live(key: Key) -> str:
    """The republished copy of the log."""
    return f"live.{_key(key)}"


def inbox(key: Key, source: Source) -> str:
    """One of the two subjects of a session's inbox: `in` for clients and the system, `res` for results of hands."""
    return f"{source}.{_key(key)}"


def inbox_all(key: Key) -> str:
    """Both subjects of a session's inbox."""
    return f"*.{_key(key)}"


def arrived(key: Key, source: Source) -> str:
    """The republished copy of a subject of the inbox."""
    return f"arrived.{inbox(key, source)}"


def arrived_all(key: Key) -> str:
    """The republished copies of both subjects of the inbox."""
    return f"arrived.{inbox_all(key)}"


def delta(key: Key) -> str:
    """Pieces of answers as they are generated; no stream covers it."""
    return f"delta.{_key(key)}"


def output(key: Key) -> str:
    """What running calls of the session print; no stream covers it."""
    return f"out.{_key(key)}"


def public(key: Key, event_type: str) -> str:
    """A public event of the session in the stream for other systems; the dots of its type separate tokens."""
    return f"pub.{_key(key)}.{bucket_key(event_type)}"


def public_all(key: Key) -> str:
    """All public events of the session."""
    return f"pub.{_key(key)}.>"


def public_of_sessions(cell: str, tenant: str) -> str:
    """The public events of all sessions of a tenant that are about the session: status, updates, its end."""
    return public_of(cell, tenant, "session.>")


def key_of(subject: str) -> Key:
    """The session of a log or inbox subject, or of its republished copy.

    Raises ValueError if it is none, or if the session is of another cell.
    """
    _, cell, tenant, session = subject.removeprefix("arrived.").split(".")
    key = Key(tenant, session)
    if key.cell != cell:
        raise ValueError(f"not a session of the cell {cell[:40]!r}: {session[:140]!r}")
    return key


def source_of(subject: str) -> Source:
    """The source of an inbox subject, or of its republished copy. Raises ValueError if it is none."""
    source = subject.removeprefix("arrived.").partition(".")[0]
    if source == "in":
        return "in"
    if source == "res":
        return "res"
    raise ValueError(f"not a subject of an inbox: {subject[:200]!r}")


# --- all sessions of a cell --------------------------------------------------------------------------------------


def all_logs(cell: str) -> str:
    return f"ev.{_cell(cell)}.>"


def all_live(cell: str) -> str:
    """The republished copies of all logs of the cell."""
    return f"live.{_cell(cell)}.>"


def all_inboxes(cell: str) -> tuple[str, str]:
    """The subjects of all inboxes of the cell."""
    return f"in.{_cell(cell)}.>", f"res.{_cell(cell)}.>"


def all_public(cell: str) -> str:
    """The public events of all sessions of the cell."""
    return f"pub.{_cell(cell)}.>"


def public_of(cell: str, tenant: str, event_type: str) -> str:
    """The public events of all sessions of a tenant that are of the type; `*` is every tenant, `>` every type."""
    of = "*" if tenant == "*" else _token(tenant)
    family = event_type.removesuffix(">").removesuffix(".")
    if event_type != ">" and event_type not in (family, f"{family}.>"):
        raise ValueError(f"not a type of events: {event_type[:80]!r}")
    if family:
        bucket_key(family)
    return f"pub.{_cell(cell)}.{of}.*.{event_type}"


# --- files -------------------------------------------------------------------------------------------------------


def all_file_chunks() -> str:
    """The bytes of all files of all tenants."""
    return "$O.files.C.>"


def file_chunk(tenant: str, content: str, index: int) -> str:
    """One chunk of the bytes of a file; `content` is the id of the bytes, which several files may share."""
    return f"$O.files.C.{_token(tenant)}.{_token(content)}.{index}"


def file_chunks(tenant: str, content: str) -> str:
    """All chunks of the bytes of a file."""
    return f"$O.files.C.{_token(tenant)}.{_token(content)}.*"


# --- hands -------------------------------------------------------------------------------------------------------


def provision(cell: str, kind: str) -> str:
    """Requests for a hand of that kind; queue group `kind`: any worker takes one."""
    return f"cmd.hand.{_cell(cell)}.provision.{_token(kind)}"


def provision_at(cell: str, worker: str) -> str:
    """The same request to one worker, because another one has declined it."""
    return f"cmd.hand.{_cell(cell)}.w.{_token(worker)}.provision"


def release(cell: str) -> str:
    """Heard by every worker of the cell; the holders of the session's hands act, all may clean files."""
    return f"cmd.hand.{_cell(cell)}.release"


def execute(cell: str, worker: str) -> str:
    return f"cmd.hand.{_cell(cell)}.w.{_token(worker)}.exec"


def probe(cell: str, worker: str) -> str:
    return f"cmd.hand.{_cell(cell)}.w.{_token(worker)}.probe"


def cancel(cell: str, worker: str) -> str:
    return f"cmd.hand.{_cell(cell)}.w.{_token(worker)}.cancel"


def confirm(cell: str, worker: str) -> str:
    """Confirmations of results that answers gave; published, not requested."""
    return f"cmd.hand.{_cell(cell)}.w.{_token(worker)}.done"


def ping(cell: str, replica: str) -> str:
    """Requests that a replica of the harness answers as long as it is connected (rule 21)."""
    return f"cmd.harness.{_cell(cell)}.{_token(replica)}.ping"


def take(cell: str, replica: str) -> str:
    """Deliveries that other replicas of the harness pass on to this one, which knows the session (rule 1)."""
    return f"cmd.harness.{_cell(cell)}.{_token(replica)}.take"


def kept(key: Key) -> str:
    """The name of the replica that has released the session last, published by that replica; empty: the session
    service has appended since (rule 1)."""
    return f"kept.{_key(key)}"


def all_kept(cell: str) -> str:
    return f"kept.{_cell(cell)}.>"


def placement_key(key: Key, hand: str) -> str:
    """Key in the bucket `hands`: which generation and worker a hand of the session has."""
    return f"s.{_key(key)}.{_token(hand)}"


def worker_key(cell: str, worker: str) -> str:
    """Key in the bucket `hands`: a worker's registration, which expires."""
    return f"w.{_cell(cell)}.{_token(worker)}"


def death_key(cell: str, replica: str) -> str:
    """Key in the bucket `hands`: a replica of the harness that was found dead, which expires (rule 21)."""
    return f"r.{_cell(cell)}.{_token(replica)}"


def worker_keys(cell: str) -> str:
    """Pattern of the keys of all registered workers of the cell."""
    return f"w.{_cell(cell)}.>"


def placement_keys(cell: str) -> str:
    """Pattern of the keys of all placements of the cell."""
    return f"s.{_cell(cell)}.>"


def placed(name: str) -> tuple[Key, str]:
    """The session and the name of the hand in the key of a placement. Raises ValueError if it is none."""
    _, _, tenant, session, hand = name.split(".")
    return Key(tenant, session), hand


def snapshot_key(key: Key) -> str:
    """Key in the bucket `snap`."""
    return _key(key)


def snapshot_part_key(key: Key, index: int) -> str:
    """Key in the bucket `snap`: one part of a snapshot that is too large for one message."""
    return f"{_key(key)}.{index}"


def snapshot_part_keys(key: Key) -> str:
    """Pattern of the keys in the bucket `snap` of all parts of the snapshot of the session."""
    return f"{_key(key)}.>"


def parked_keys(key: Key) -> str:
    """Pattern of the keys in the bucket `parked` of all inputs of the session that were set aside."""
    return f"{_key(key)}.>"


def body_key(key: Key) -> str:
    """Where the large bodies of the session are in the object store of its cell."""
    return _key(key)


def parked_key(key: Key, inbox: str, seq: int) -> str:
    """Key in the bucket `parked`: an input of the session that was set aside; `inbox` is the epoch of its stream."""
    return f"{_key(key)}.{_token(inbox)}.{seq}"


# --- tasks -------------------------------------------------------------------------------------------------------

UNNAMED = "_invalid"
"""Stands for a tenant or a kind in the subject of a task that is no token of ours. No binding has that kind."""

UNBOUND = "_unbound"
"""Stands for the kind in the subject of a dead task whose kind has no binding: so many kinds share one limit."""


def task(tenant: str, kind: str) -> str:
    """Where other systems publish tasks of that kind for that tenant."""
    return f"task.{_token(tenant)}.{_token(kind)}"


def task_again(tenant: str, kind: str) -> str:
    """Where the session service publishes a dead task once more, and those that it was handed itself.

    Who may publish here may say which task it is.
    """
    return f"again.{_token(tenant)}.{_token(kind)}"


def dead_task(tenant: str, kind: str) -> str:
    """Where the session service keeps a task that could not be carried out; `kind` is UNBOUND without a binding."""
    return f"dead.{_token(tenant)}.{_token(kind)}"


def dead_tasks(tenant: str) -> str:
    """Pattern of the dead tasks of all kinds of the tenant."""
    return f"dead.{_token(tenant)}.*"


def all_task_requests() -> str:
    """Requests of other systems that are tasks; no stream covers them."""
    return "ask.*.*"


def all_tasks() -> tuple[str, str]:
    return "task.*.*", "again.*.*"


def all_dead_tasks() -> str:
    return "dead.*.*"


def task_of(subject: str) -> tuple[str, str, str]:
    """First token, tenant and kind of a subject of a task; UNNAMED for a tenant or a kind that is no token."""
    first, tenant, kind = subject.split(".")
    return first, tenant if is_token(tenant) else UNNAMED, kind if is_token(kind) else UNNAMED


def task_record_key(tenant: str, task_id: str) -> str:
    """Key in the bucket `tasks`: what is known of a task."""
    return f"t.{_token(tenant)}.{_token(task_id)}"


def session_key_key(tenant: str, kind: str, key_hash: str) -> str:
    """Key in the bucket `tasks`: the session of all tasks with one session key."""
    return f"k.{_token(tenant)}.{_token(kind)}.{_token(key_hash)}"


def gate_key(tenant: str, kind: str) -> str:
    """Key in the bucket `gates`: which tasks of the kind are open, and which wait in order."""
    return f"{_token(tenant)}.{_token(kind)}"


def gate_of(key: str) -> tuple[str, str]:
    """Tenant and kind of the key of a gate."""
    tenant, kind = key.split(".")
    return tenant, kind


# --- vault and buckets -------------------------------------------------------------------------------------------

VAULT_ADMIN = "vault.req.admin"
"""Queue group `vault`."""

VAULT_KEY = "vault.req.key"
"""Answers the vault's public key; queue group `vault`."""

VAULT_SIGN = "vault.req.sign"
"""Signs with the secret of a webhook; queue group `vault`."""


def bucket_key(key: str) -> str:
    """The key of a bucket, checked: tokens with dots between them. Raises ValueError."""
    if not all(map(is_token, key.split("."))):
        raise ValueError(f"not a key: {key[:40]!r}")
    return key


def bucket_changes(bucket: str, match: str) -> str:
    """The republished copy of a bucket: its keys that match the pattern."""
    return f"kv.{_token(bucket)}.{match}"
