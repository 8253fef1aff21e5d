"""The subjects; no other module spells one. Each token from outside is checked to be a single token. Pure."""

from holdfast.bus.ids import Key, is_token


def _token(text: str) -> str:
    if not is_token(text):
        raise ValueError(f"not a subject token: {text[:40]!r}")
    return text


def _key(key: Key) -> str:
    return f"{_token(key.tenant)}.{_token(key.session)}"


def log(key: Key) -> str:
    """The one literal subject of a session's log."""
    return f"ev.{_key(key)}"


def live(key: Key) -> str:
    """The republished copy of the log."""
    return f"live.{_key(key)}"


def inbox(key: Key) -> str:
    return f"in.{_key(key)}"


def arrived(key: Key) -> str:
    """The republished copy of the inbox."""
    return f"arrived.{_key(key)}"


def delta(key: Key) -> str:
    return f"delta.{_key(key)}"


def output(key: Key) -> str:
    """What running calls of the session print; no stream covers it."""
    return f"out.{_key(key)}"


def key_of(subject: str) -> Key:
    """The session a log, inbox, live or arrived subject belongs to."""
    _, tenant, session = subject.split(".")
    return Key(tenant, session)


PROVISION = "cmd.sbx.provision"
"""Queue group `sbx`: any worker takes it."""

RELEASE = "cmd.sbx.release"
"""Heard by every worker; the holder of the sandbox acts, all may clean files."""

REGISTERED = "w.>"
RECORDS = "c.>"


def execute(worker: str) -> str:
    return f"cmd.sbx.w.{_token(worker)}.exec"


def probe(worker: str) -> str:
    return f"cmd.sbx.w.{_token(worker)}.probe"


def cancel(worker: str) -> str:
    return f"cmd.sbx.w.{_token(worker)}.cancel"


def placement_key(key: Key) -> str:
    """Key in the `sbx` bucket: which generation and worker a session has."""
    return f"s.{_key(key)}"


def worker_key(worker: str) -> str:
    """Key in the `sbx` bucket: a worker's registration, which expires."""
    return f"w.{_token(worker)}"


def record_key(call: str) -> str:
    """Key in the `sbx` bucket: a call that was accepted and whose result is not yet stored."""
    return f"c.{_token(call)}"


def snapshot_key(key: Key) -> str:
    """Key in the `snap` bucket."""
    return _key(key)


VAULT_ADMIN = "vault.req.admin"
"""Queue group `vault`."""

VAULT_KEY = "vault.req.key"
"""Answers the vault's public key; queue group `vault`."""


def bucket_key(key: str) -> str:
    """The key of a bucket, checked: tokens with dots between them. Raises ValueError."""
    if not all(map(is_token, key.split("."))):
        raise ValueError(f"not a key: {key[:40]!r}")
    return key


def bucket_changes(bucket: str, match: str) -> str:
    """The republished copy of a bucket: its keys that match the pattern."""
    return f"kv.{_token(bucket)}.{match}"


ALL_LOGS = "ev.>"
ALL_LIVE = "live.>"
