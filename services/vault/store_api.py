"""Requests to OpenBao or HashiCorp Vault over HTTP: JSON, connections that are kept, and the login.

It is written over `http.client`, because the service makes six kinds of requests and a library for the whole API of
the server costs each process 17 MB. Redirects are not followed, no proxy is used and nothing is taken from the
environment: a token goes only to the address of the settings.
"""

import http.client
import select
import ssl
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from holdfast.process.settings import BadSettings
from holdfast.vault.errors import StoreUnavailable
from holdfast.vault.settings import VaultSettings

CONNECT_TIMEOUT_S: Final = 1.0

TOKEN_RENEWAL_FRACTION: Final = 2 / 3
"""Fraction of a token's life after which the next request logs in again."""

_FORBIDDEN: Final = 403
_FIRST_STATUS_NOT_DONE: Final = 300
"""A redirect is a failure, because it is not followed."""

_LOOPBACK: Final = ("http://127.0.0.1:", "http://[::1]:", "http://localhost:")


class RequestFailed(Exception):
    """The server answered with an error, or not at all. The text names the kind of failure and nothing of the answer.

    `status` is that of HTTP; 0: there was no answer, so the request may have been carried out.
    """

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text or f"HTTP {status}")
        self.status = status


class StoreApi:
    """The API of the server. The methods block, and may be called from several threads."""

    def __init__(self, settings: VaultSettings) -> None:
        """Raises BadSettings if the address would send secrets in clear, or if the secret id or the certificate of the
        authority cannot be read."""
        if not settings.vault_url.startswith(("https://", *_LOOPBACK)):
            raise BadSettings("HOLDFAST_VAULT_URL: must be https, or http on loopback")
        try:
            parts = urlsplit(settings.vault_url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:  # a port out of range, or a broken IPv6 address
            raise BadSettings("HOLDFAST_VAULT_URL: must be an address such as https://127.0.0.1:8200") from None
        self._base = f"{parts.path.rstrip('/')}/v1"
        self._tls = _trust(settings.vault_ca_file) if parts.scheme == "https" else None
        self._settings = settings
        self._secret_id = _secret_id(settings.vault_secret_id_file)
        self._idle = deque[http.client.HTTPConnection]()
        """Open connections that no thread uses now."""
        self._login_lock = threading.Lock()
        self._token = ""
        self._renew_at = 0.0
        """Time (monotonic, s) from which a new token is requested."""

    def close(self) -> None:
        """Close the idle connections; called when no request is in progress."""
        while self._idle:
            self._idle.pop().close()

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Send a request with our token, after a new login if the token is due or refused.

        Returns the JSON of the answer; None if it is empty. Raises RequestFailed, and StoreUnavailable if the answer to
        the login is none.
        """
        try:
            return self._send(method, path, body, self._valid_token())
        except RequestFailed as exc:
            if exc.status != _FORBIDDEN:
                raise
        self._renew_at = 0.0
        return self._send(method, path, body, self._valid_token())

    def health(self) -> Any:
        """The JSON in which the server tells its state, whatever its status is. Raises RequestFailed."""
        return self._exchange("GET", "sys/health", None, "")[1]

    def _valid_token(self) -> str:
        if time.monotonic() < self._renew_at:
            return self._token
        with self._login_lock:
            if time.monotonic() >= self._renew_at:
                self._log_in()
            return self._token

    def _log_in(self) -> None:
        asked_at = time.monotonic()
        body = {"role_id": self._settings.vault_role_id, "secret_id": self._secret_id}
        answer = self._send("POST", f"auth/{quoted(self._settings.vault_auth)}/login", body, "")
        try:
            auth = msgspec.convert(answer, _Login).auth
        except msgspec.ValidationError:
            raise StoreUnavailable("the secret store gave an unexpected answer") from None
        self._token = auth.client_token
        self._renew_at = asked_at + auth.lease_duration * TOKEN_RENEWAL_FRACTION

    def _send(self, method: str, path: str, body: object, token: str) -> Any:
        status, answer = self._exchange(method, path, body, token)
        if status >= _FIRST_STATUS_NOT_DONE:
            raise RequestFailed(status)
        return answer

    def _exchange(self, method: str, path: str, body: object, token: str) -> tuple[int, Any]:
        """One request and its response: status and JSON. Raises RequestFailed."""
        headers = {"X-Vault-Request": "true"}
        content = None
        if body is not None:
            headers["Content-Type"], content = "application/json", msgspec.json.encode(body)
        if token:
            headers["X-Vault-Token"] = token
        if self._settings.vault_namespace:
            headers["X-Vault-Namespace"] = self._settings.vault_namespace
        connection: http.client.HTTPConnection | None = None
        try:
            connection = self._connection()
            connection.request(method, f"{self._base}/{path}", content, headers)
            response = connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException) as exc:
            if connection is not None:
                connection.close()
            raise RequestFailed(0, type(exc).__name__) from None
        self._idle.append(connection)
        try:
            return response.status, msgspec.json.decode(raw) if raw else None
        except msgspec.MsgspecError:
            raise RequestFailed(response.status, f"HTTP {response.status} without JSON") from None

    def _connection(self) -> http.client.HTTPConnection:
        """An idle connection that the server has not closed, else a new one. Raises OSError."""
        while self._idle:
            try:
                known = self._idle.pop()
            except IndexError:  # another thread has just taken the last one
                break
            if not _is_closed_by_peer(known):
                return known
            known.close()
        made = (
            http.client.HTTPSConnection(self._host, self._port, timeout=CONNECT_TIMEOUT_S, context=self._tls)
            if self._tls
            else http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_TIMEOUT_S)
        )
        try:
            made.connect()
            made.sock.settimeout(self._settings.vault_timeout)
        except OSError:
            made.close()
            raise
        return made


class _Auth(msgspec.Struct):
    client_token: str
    lease_duration: float


class _Login(msgspec.Struct):
    auth: _Auth


def quoted(path: str) -> str:
    """A mount or a path of the settings as a part of an address."""
    return quote(path.strip("/"))


def _is_closed_by_peer(connection: http.client.HTTPConnection) -> bool:
    """Whether the server has closed the connection, or sent something that nobody has asked for."""
    if connection.sock is None:  # closed at the end of its last response
        return True
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def _trust(ca_file: str) -> ssl.SSLContext:
    """A TLS context that trusts this authority only, or those of the system. Raises BadSettings."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError:  # also ssl.SSLError
        raise BadSettings(f"HOLDFAST_VAULT_CA_FILE: cannot read certificates from {ca_file}") from None


def _secret_id(path: str) -> str:
    """Content of the secret id file. Raises BadSettings."""
    if not path:
        raise BadSettings("HOLDFAST_VAULT_SECRET_ID_FILE: not set")
    try:
        return Path(path).read_text().strip()
    except OSError:
        raise BadSettings(f"HOLDFAST_VAULT_SECRET_ID_FILE: cannot read {path}") from None
