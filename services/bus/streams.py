"""Streams, consumers and buckets as data. Pure.

`provision.py` sends them as raw JSON: nats-py keeps only the fields that it knows, so a read-modify-write through it
would drop newer settings of the server. No stream covers a subject of `SECRET_SUBJECTS`.
"""

from typing import Any

from holdfast.bus import subjects
from holdfast.bus.ids import FIRST_CELL

PROTOCOL = 3
"""Version of subjects, streams and buckets together. It is in the metadata of every stream.

A stream without it is of protocol 1. Raise it when a process of the version before could not work on the same streams:
no process starts on streams of another protocol (`jetstream/protocol.py`)."""

PROTOCOL_METADATA = "holdfast.protocol"
"""Name of the metadata of a stream that holds its protocol, as a decimal number."""

SECOND_NS = 1_000_000_000
"""Nanoseconds, the unit of durations in the JetStream API."""

ACK_WAIT_S = 1.5
"""Seconds without an ack or in_progress after which the server redelivers, to any harness."""

IN_PROGRESS_INTERVAL_S = 0.5
"""Seconds between two in_progress messages for a delivery; a third of ACK_WAIT_S."""

IN_PROGRESS = b"+WPI"
"""The body of an in_progress message (work in progress)."""

DEDUPLICATION_WINDOW_S = 120
"""Seconds within which the server stores no second message with the same Nats-Msg-Id."""

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""Largest message in bytes; also `max_payload` of the server."""

BLOB_THRESHOLD_BYTES = 128 * 1024
"""Encoded events and inputs above this many bytes are stored in the object store."""

INBOX_LIMIT_MESSAGES = 20_000
"""Messages that may wait on each subject of a session's inbox; the next one is refused.

`res` does not fill up by itself: a hand stores one result for each open call, and a session has few of them.
"""

HARNESS_CONSUMER = "harness"
"""The durable consumer that all harness replicas share."""

SECRET_SUBJECTS = ("vault.>", "_INBOX.>")
"""Messages on these subjects may contain secrets: no stream may store them."""

TASKS_STREAM = "TASKS"
DEAD_TASKS_STREAM = "DEAD_TASKS"

TASK_CONSUMER = "tasks"
"""The durable consumer that all replicas of the session service share."""

TASK_ACK_WAIT_S = 5.0
"""Seconds after which a task is delivered to another replica of the session service."""

TASK_DEDUPLICATION_WINDOW_S = 0.1
"""The least that the server takes. The window is one for the whole stream: within a longer one the task `17` of one
tenant would be dropped because another tenant, or another kind, had a task `17`. The record recognises repetitions."""

TASK_LIMIT_MESSAGES = 20_000
"""Tasks that may wait of one kind; the next one is refused."""

TASKS_LIMIT_BYTES = 256 * 1024 * 1024
"""Bytes of all tasks that may wait; the next one is refused, so that publishers cannot fill the disk of all sessions.
nats-server sets this room aside: it counts against the limit of its file store."""

MAX_TASK_MESSAGE_BYTES = 1024 * 1024 + 64 * 1024
"""Largest task in bytes: its body and its headers."""

MAX_TASK_HEADER_BYTES = 48 * 1024
"""Headers of a task in bytes. JetStream stores at most 65,535, and a dead letter has some more than its task."""

DEAD_TASK_DAYS = 30
"""Days for which a task that could not be carried out is kept."""

UNBOUND_TASK_DAYS = 3
"""Days for which a task is kept that died because nobody had made a binding for it."""

DEAD_TASK_LIMIT_MESSAGES = 1_000
"""Dead letters of one kind; older ones are dropped."""

DEAD_TASKS_LIMIT_MESSAGES = 5_000
"""Dead letters in all. A limit in bytes would let a few large ones drop all others."""

FILES = "files"
"""Bucket of the files that clients have uploaded, without their bytes (rule 40)."""

FILE_CONTENTS = "file_contents"
"""Bucket of what is known of the bytes of files: how many there are, and which files have them (rule 40)."""

BUCKETS = (
    "agents", "envs", "keys", "hands", "snap", "parked", "webhooks", "audit", "bindings", "tasks", "gates",
    FILES, FILE_CONTENTS,
)  # fmt: skip
BLOBS = "blobs"

FILES_STREAM = "OBJ_files"
"""The bytes of files, in chunks. All cells share them: a file belongs to a tenant, and to no session."""

HANDS = "hands"
"""Bucket of the workers, of the placements of hands, and of harnesses that were found dead."""

SNAPSHOTS = "snap"
"""Bucket of the snapshots of conversations."""

ERASED_BUCKETS = (SNAPSHOTS, "parked", FILES)
"""Buckets whose values hold what people and models said: they are erased with their session (rule 29). A file is
erased when it is deleted: its name is what a person wrote (rule 40)."""

AUDIT = "audit"
"""Bucket of the records of administrative acts, for ever. A key in it is written once: the server refuses to replace,
delete or expire it, whoever asks."""


def log_stream(cell: str = FIRST_CELL) -> str:
    return f"LOG_{cell}"


def inbox_stream(cell: str = FIRST_CELL) -> str:
    return f"INBOX_{cell}"


def blob_stream(cell: str = FIRST_CELL) -> str:
    return f"OBJ_{BLOBS}_{cell}"


def public_stream(cell: str = FIRST_CELL) -> str:
    return f"PUB_{cell}"


def _common(replicas: int) -> dict[str, Any]:
    """What the configurations of all streams have."""
    return {
        "storage": "file",
        "num_replicas": replicas,
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msg_size": MAX_MESSAGE_BYTES,
        "duplicate_window": DEDUPLICATION_WINDOW_S * SECOND_NS,
        "allow_direct": True,
        "metadata": {PROTOCOL_METADATA: str(PROTOCOL)},
    }


def public_config(cell: str = FIRST_CELL, *, max_bytes: int, replicas: int = 1) -> dict[str, Any]:
    """The stream of public events of one cell, which keeps the newest `max_bytes` (rule 30).

    It has no limit of age: its last message says how far the log has been published, so that it must not expire. Its
    dedupe window is the shortest that NATS allows: the expected sequence keeps an event from being stored twice, and an
    id that the log has twice must not hold up what follows.
    """
    return {
        **_common(replicas),
        "name": public_stream(cell),
        "subjects": [subjects.all_public(cell)],
        "retention": "limits",
        "discard": "old",
        "max_bytes": max_bytes,
        "duplicate_window": SECOND_NS // 10,
    }


def stream_configs(cell: str = FIRST_CELL, *, replicas: int = 1) -> list[dict[str, Any]]:
    """The three streams of one cell, and what all cells share, as `STREAM.CREATE` takes them."""
    common = _common(replicas)
    log = {
        **common,
        "name": log_stream(cell),
        "subjects": [subjects.all_logs(cell)],
        "retention": "limits",
        "discard": "new",
        "republish": {"src": subjects.all_logs(cell), "dest": subjects.all_live(cell)},
    }
    inbox = {
        **common,
        "name": inbox_stream(cell),
        "subjects": list(subjects.all_inboxes(cell)),
        "retention": "workqueue",
        "discard": "new",
        "discard_new_per_subject": True,
        "max_msgs_per_subject": INBOX_LIMIT_MESSAGES,
        "republish": {"src": ">", "dest": "arrived.>"},
    }
    buckets = [_audit_config(common) if bucket == AUDIT else _bucket_config(common, bucket) for bucket in BUCKETS]
    blobs = {
        **common,
        "name": blob_stream(cell),
        "subjects": [f"$O.{BLOBS}.C.{cell}.>"],
        "retention": "limits",
        "discard": "new",
        "allow_rollup_hdrs": False,
    }
    files = {
        **common,
        "name": FILES_STREAM,
        "subjects": [subjects.all_file_chunks()],
        "retention": "limits",
        "discard": "new",
        "allow_rollup_hdrs": False,
    }
    return [log, inbox, *buckets, blobs, files, *_task_streams(common)]


def _task_streams(common: dict[str, Any]) -> list[dict[str, Any]]:
    """Tasks, and those that could not be carried out. All cells share them: a task has no session yet."""
    tasks = {
        **common,
        "name": TASKS_STREAM,
        "subjects": list(subjects.all_tasks()),
        "retention": "workqueue",
        "discard": "new",
        "discard_new_per_subject": True,
        "max_msgs_per_subject": TASK_LIMIT_MESSAGES,
        "max_bytes": TASKS_LIMIT_BYTES,
        "max_msg_size": MAX_TASK_MESSAGE_BYTES,
        "duplicate_window": int(TASK_DEDUPLICATION_WINDOW_S * SECOND_NS),
    }
    dead = {
        **common,
        "name": DEAD_TASKS_STREAM,
        "subjects": [subjects.all_dead_tasks()],
        "retention": "limits",
        "discard": "old",
        "max_msgs_per_subject": DEAD_TASK_LIMIT_MESSAGES,
        "max_msgs": DEAD_TASKS_LIMIT_MESSAGES,
        "max_age": DEAD_TASK_DAYS * 24 * 3600 * SECOND_NS,
        "allow_msg_ttl": True,
        "max_msg_size": MAX_TASK_MESSAGE_BYTES + 64 * 1024,
    }
    return [tasks, dead]


def _bucket_config(common: dict[str, Any], bucket: str) -> dict[str, Any]:
    """Only `hands` tells those that watch it of keys that expire: the server then allows rollup headers too, and with
    such a header whoever may write one key empties the whole bucket (SECURITY.md).
    """
    is_told = bucket == HANDS
    return {
        **common,
        "name": f"KV_{bucket}",
        "subjects": [f"$KV.{bucket}.>"],
        "retention": "limits",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "allow_rollup_hdrs": is_told,
        "deny_delete": bucket not in ERASED_BUCKETS,
        "allow_msg_ttl": True,
        "subject_delete_marker_ttl": 1 * SECOND_NS if is_told else 0,
        "republish": {"src": f"$KV.{bucket}.>", "dest": f"kv.{bucket}.>"},
    }


def _audit_config(common: dict[str, Any]) -> dict[str, Any]:
    """A bucket whose keys are written once. Nobody watches it, so that its changes are not republished."""
    return {
        **common,
        "name": f"KV_{AUDIT}",
        "subjects": [f"$KV.{AUDIT}.>"],
        "retention": "limits",
        "discard": "new",
        "discard_new_per_subject": True,
        "max_msgs_per_subject": 1,
        "deny_delete": True,
        "deny_purge": True,
    }


def harness_consumer() -> dict[str, Any]:
    """The shared durable of all harness replicas. Update it, never recreate it: that would lose its ack state."""
    return {
        "durable_name": HARNESS_CONSUMER,
        "name": HARNESS_CONSUMER,
        "ack_policy": "explicit",
        "ack_wait": int(ACK_WAIT_S * SECOND_NS),
        "max_deliver": -1,
        "max_ack_pending": 1_000_000,
        "max_waiting": 512,
        "deliver_policy": "all",
        "replay_policy": "instant",
    }


def task_consumer() -> dict[str, Any]:
    """The shared durable of all session services. Its ack_wait is longer than that of an inbox: nobody has a turn."""
    return {
        **harness_consumer(),
        "durable_name": TASK_CONSUMER,
        "name": TASK_CONSUMER,
        "ack_wait": int(TASK_ACK_WAIT_S * SECOND_NS),
    }
