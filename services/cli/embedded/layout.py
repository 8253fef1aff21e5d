"""One data folder: which file is where, the lock that keeps it to one stack, its ports and its generated secrets."""

import fcntl
import os
import secrets
import shutil
from pathlib import Path
from typing import Any, Final

import msgspec

from holdfast.cli.embedded.ports import free_port, is_free

USERS: Final = ("admin", "session", "harness", "sandbox", "vault")
"""NATS identities, one for each kind of process and one that provisions."""


LOG_BYTES: Final = 32 * 1024 * 1024
"""Size of a log above which it is put aside."""


class Busy(Exception):
    """Another process holds this folder or a port; the text says which and what to do."""


class State(msgspec.Struct):
    """What is chosen once for a data folder and kept in `stack.json`."""

    id: str
    ports: dict[str, int] = {}


def write_private(path: Path, data: bytes) -> None:
    """Replace `path` atomically with `data`, readable by the owner alone."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(part, "wb", opener=lambda name, flags: os.open(name, flags | os.O_EXCL, 0o600)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)  # such as on a full disk; the next attempt needs the name
        raise


class Layout:
    """Paths below one data folder. Folders are made with mode 0700 when the folder is opened."""

    def __init__(self, data: Path) -> None:
        self.data = data.absolute()
        self.logs = self.data / "logs"
        self.secrets = self.data / "secrets"
        self.nats = self.data / "nats"
        self.bao = self.data / "bao"
        self.session = self.data / "session"
        self.sandbox = self.data / "sandbox"
        self.run_file = self.data / "run.json"
        self.api_key_file = self.data / "api.key"
        self.model_key_file = self.secrets / "model.key"
        self._state_file = self.data / "stack.json"
        self._lock = -1
        self.state = State("")

    def open(self) -> None:
        """Make the folders and take the lock. Raises Busy naming the process that has it."""
        for folder in (self.data, self.logs, self.secrets, self.nats, self.bao, self.session, self.sandbox):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self.data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._lock, 20).decode().strip() or "unknown"
            raise Busy(
                f"{self.data} is in use by the stack with process id {holder}.\n"
                f"Use it as it is (holdfast status --data {self.data}), stop it (kill {holder}), "
                "or start another one with --data OTHER_FOLDER."
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)
        if self._state_file.exists():
            self.state = msgspec.json.decode(self._state_file.read_bytes(), type=State)
        else:
            self.state = State(secrets.token_hex(6))
            self.save()

    def save(self) -> None:
        write_private(self._state_file, msgspec.json.encode(self.state))

    def port(self, name: str) -> int:
        """The port that `name` had before if it is free, else a free one, kept for the next start."""
        kept = self.state.ports.get(name, 0)
        if kept and is_free(kept):
            return kept
        self.state.ports[name] = free_port()
        return self.state.ports[name]

    def fixed_port(self, name: str, port: int) -> int:
        """`port` itself, or the kept or a free one when it is 0. Raises Busy when somebody else listens there."""
        if not port:
            return self.port(name)
        if not is_free(port):
            raise Busy(
                f"port {port} of 127.0.0.1 is in use by another process.\n"
                "Choose another with --port N, or let holdfast choose with --port 0.\n"
                f"Who has it: ss -ltnp 'sport = :{port}'"
            )
        self.state.ports[name] = port
        return port

    def secret(self, name: str, size: int = 24) -> str:
        """A random text kept in `secrets/<name>`, made at the first call."""
        path = self.secrets / name
        if not path.exists():
            write_private(path, secrets.token_urlsafe(size).encode())
        return path.read_text()

    def key_bytes(self, name: str) -> Path:
        """Path of a file with 32 random bytes, made at the first call."""
        path = self.secrets / name
        if not path.exists():
            write_private(path, secrets.token_bytes(32))
        return path

    def api_key(self) -> str:
        """The key of the first client, made once."""
        if not self.api_key_file.exists():
            write_private(self.api_key_file, f"hf_{secrets.token_urlsafe(32)}".encode())
        return self.api_key_file.read_text()

    def nats_credentials(self, user: str) -> Path:
        """Path of the credentials file of a NATS user, as services/process/settings.py reads it."""
        path = self.secrets / f"nats-{user}.json"
        if not path.exists():
            write_private(path, msgspec.json.encode({"user": user, "password": secrets.token_urlsafe(24)}))
        return path

    def nats_password(self, user: str) -> str:
        raw: dict[str, Any] = msgspec.json.decode(self.nats_credentials(user).read_bytes())
        return raw["password"]

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self.logs / f"{name}.log"

    def trim_logs(self) -> None:
        """Put aside what is in a log that has grown over LOG_BYTES; one generation is kept.

        The file stays the same one, because its writer appends to it and does not know of this; a line that is
        written in the same moment may be lost.
        """
        for path in self.logs.glob("*.log"):
            if path.stat().st_size > LOG_BYTES:
                aside = path.with_suffix(".log.1")
                try:
                    shutil.copyfile(path, aside)
                except OSError:  # the disk is full; the older lines are given up for room
                    aside.unlink(missing_ok=True)
                os.truncate(path, 0)
