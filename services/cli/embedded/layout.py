"""One data folder: the paths of its files, its lock, its ports and its generated secrets."""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from holdfast.cli.embedded.ports import free_port, is_free, why_not
from holdfast.process.api_keys import new_api_key

NATS_USERS: Final = ("admin", "session", "harness", "sandbox", "vault", "publisher")
"""NATS users: one for each kind of service, `admin`, which provisions, and `publisher` for systems with tasks."""


MAX_LOG_BYTES: Final = 32 * 1024 * 1024
"""A larger log is moved to `NAME.log.1`."""


class Busy(Exception):
    """Another process holds this folder or a port; the text says which and what to do."""

    def __init__(self, text: str, *, port: int = 0) -> None:
        super().__init__(text)
        self.port = port
        """The port that is in use; 0 if it is the folder."""


class BadFolder(Exception):
    """The data folder cannot be used; the text says why and what to do."""


_FORBIDDEN_CHARS: Final = ('"', "\\", "\n", "\r", "\t")
"""Characters that the configuration files of NATS and OpenBao cannot hold in a path."""

_ERROR_TEXTS: Final = {
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
    errno.EROFS: "the disk is read-only",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota of this user is used up",
    errno.ENAMETOOLONG: "the path is too long",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "it is a file, and a folder is needed",
}


class State(msgspec.Struct):
    """Choices that are made once for a data folder, stored in `stack.json`."""

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


def data_folder(data: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder given, else HOLDFAST_DATA, else `.holdfast` in the current folder."""
    return data or Path(environ.get("HOLDFAST_DATA") or ".holdfast")


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

    @contextlib.contextmanager
    def explained(self) -> Generator[None]:
        """Turn an OSError of the block into BadFolder."""
        try:
            yield
        except OSError as exc:
            reason = _ERROR_TEXTS.get(exc.errno or 0, exc.strerror or str(exc))
            where = Path(str(exc.filename)) if exc.filename else self.data
            named = "" if where == self.data else f" ({where})"
            raise BadFolder(
                f"cannot use the data folder {self.data}: {reason}{named}.\nChoose another one: --data FOLDER"
            ) from None

    def open(self) -> None:
        """Make the folders and take the lock. Raises BadFolder, and Busy with the process id of the lock's holder."""
        if any(char in str(self.data) for char in _FORBIDDEN_CHARS):
            raise BadFolder(
                f"cannot use the data folder {str(self.data)!r}: its path holds a quote, a backslash, a tab or a line "
                "end.\n"
                "Choose another one: --data FOLDER"
            )
        with self.explained():
            self._make_folders()
            self._take_lock()
            try:
                self.state = self._read_state()
            except msgspec.MsgspecError as exc:
                raise BadFolder(
                    f"{self._state_file} is damaged ({exc}). If it cannot be restored, remove it: the stack then gets "
                    "new ports, and all sessions stay."
                ) from None

    def _make_folders(self) -> None:
        is_new = not any(self.data.iterdir()) if self.data.is_dir() else True
        for folder in (self.data, self.logs, self.secrets, self.nats, self.bao, self.session, self.sandbox):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if is_new or self._state_file.exists():
            self._ignore_in_git()

    def _ignore_in_git(self) -> None:
        """Write a .gitignore, so that no repository takes in keys or data. A .gitignore of the user stays as it is."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with contextlib.suppress(FileExistsError):
            file = os.open(self.data / ".gitignore", flags, 0o600)
            os.write(file, b"*\n")
            os.close(file)

    def _read_state(self) -> State:
        if self._state_file.exists():
            return msgspec.json.decode(self._state_file.read_bytes(), type=State)
        state = State(secrets.token_hex(6))
        write_private(self._state_file, msgspec.json.encode(state))
        return state

    def _take_lock(self) -> None:
        self._lock = os.open(self.data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._lock, 20).decode().strip() or "unknown"
            raise Busy(
                f"{self.data} is in use by the stack with process id {holder}.\n"
                f"Use it as it is (holdfast status --data {self.data}), stop it (holdfast down --data {self.data}), "
                "or start another one with --data OTHER_FOLDER."
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def save(self) -> None:
        write_private(self._state_file, msgspec.json.encode(self.state))

    def port(self, name: str) -> int:
        """The port that `name` had at the last start if it is free, else a free port, stored for the next start.

        Never one that is stored for another process, which may not have started yet.
        """
        kept = self.state.ports.get(name, 0)
        others = {port for other, port in self.state.ports.items() if other != name}
        if kept and kept not in others and is_free(kept):
            return kept
        self.state.ports[name] = free_port(others)
        return self.state.ports[name]

    def fixed_port(self, name: str, port: int | None, default: int) -> int:
        """`port`; for 0 the stored or a free port; for None the stored port, else `default`.

        Raises Busy if nobody can listen there.
        """
        if port is None:
            port = self.state.ports.get(name) or default
        if not port:
            return self.port(name)
        if reason := why_not(port):
            raise Busy(reason, port=port)
        self.state.ports[name] = port
        return port

    def secret(self, name: str, size: int = 24) -> str:
        """A random text stored in `secrets/<name>`, made at the first call."""
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

    def known_api_key(self) -> str:
        """The API key, empty before the first start."""
        return self.api_key_file.read_text() if self.api_key_file.exists() else ""

    def api_key(self) -> str:
        """The API key of this stack, made at the first call."""
        if not self.api_key_file.exists():
            write_private(self.api_key_file, new_api_key().encode())
        return self.api_key_file.read_text()

    def nats_credentials(self, user: str) -> Path:
        """Path of the credentials file of a NATS user, as `process.settings.credentials` reads it."""
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
        """Move the content of logs over MAX_LOG_BYTES to `NAME.log.1`, replacing what is there.

        The file is truncated and not replaced, because its writer has it open and appends. A line written between the
        copy and the truncation is lost.
        """
        for path in self.logs.glob("*.log"):
            if path.stat().st_size > MAX_LOG_BYTES:
                aside = path.with_suffix(".log.1")
                try:
                    shutil.copyfile(path, aside)
                except OSError:  # the disk is full: drop the lines to make room
                    aside.unlink(missing_ok=True)
                os.truncate(path, 0)
