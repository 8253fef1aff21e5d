"""The secret store: documents in the KV version 2 engine of OpenBao or HashiCorp Vault. Only this module imports hvac.

A document is one JSON *string* under one field, because the audit device of the server hashes strings but writes
numbers and booleans in clear. The engine keeps one version of each document: an older version would keep a rotated
secret readable. Every write is a check-and-set. A removal removes the metadata too, since any other can be undone.

hvac is synchronous, so calls run in a bounded pool with one HTTP session per thread. By default hvac follows redirects
with the token, takes a token from the environment and waits 30 s; this module sets each of these itself.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import hvac as _hvac  # pyright: ignore[reportMissingTypeStubs]
import hvac.exceptions as failed  # pyright: ignore[reportMissingTypeStubs]
import msgspec
import requests
import structlog

from holdfast.process.settings import BadSettings
from holdfast.vault.errors import StoreUnavailable, VersionMismatch
from holdfast.vault.settings import VaultSettings

log = structlog.get_logger()

CONNECT_TIMEOUT_S: Final = 1.0

DOCUMENT_FIELD: Final = "j"
"""The field of a stored document that holds its text."""

TOKEN_RENEWAL_FRACTION: Final = 2 / 3
"""Fraction of a token's life after which the next request logs in again."""

T = TypeVar("T")

hvac: Final[Any] = _hvac
"""The library has no types; `_dict` checks its answers."""

_LOOPBACK: Final = ("http://127.0.0.1:", "http://[::1]:", "http://localhost:")


class Document(msgspec.Struct, frozen=True):
    """A stored text with its version, which a replacement has to name."""

    text: str
    version: int


class _Login:
    """The token of this process, which its threads share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.token = ""
        self.renew_at = 0.0
        """Time (monotonic, s) from which a new token is requested."""


class Store:
    """Documents by path. Only `paths.py` makes paths; they are below the mount."""

    def __init__(self, settings: VaultSettings) -> None:
        """Raises BadSettings if the address would send secrets in clear or the secret id cannot be read."""
        if not settings.vault_url.startswith(("https://", *_LOOPBACK)):
            raise BadSettings("HOLDFAST_VAULT_URL: must be https, or http on loopback")
        self._settings = settings
        self._secret_id = _secret_id(settings.vault_secret_id_file)
        self._login = _Login()
        self._local = threading.local()
        self._last_failure = ""
        self._pool = ThreadPoolExecutor(settings.vault_threads, thread_name_prefix="vault")

    async def close(self) -> None:
        """Wait for the requests in progress; none takes longer than its timeout."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    # --- documents ------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Configure the engine to keep one version of each document and to require check-and-set.

        Raises StoreUnavailable.
        """
        await self._run(self._prepare)

    async def ping(self) -> None:
        """Ask whether the server is unsealed and active, without our login. Raises StoreUnavailable."""
        await self._run(self._ping)

    async def get(self, path: str) -> Document | None:
        """The document, or None. Raises StoreUnavailable."""
        return await self._run(lambda: self._get(path))

    async def version(self, path: str) -> int:
        """Version of the document, without its text; 0 if there is none. Raises StoreUnavailable."""
        return await self._run(lambda: self._version(path))

    async def put(self, path: str, text: str, version: int) -> int:
        """Store `text` if the document is at `version` (0: there is none), and return the new version.

        Raises VersionMismatch if the document is at another version, and StoreUnavailable if it is unknown whether the
        text was stored.
        """
        return await self._run(lambda: self._put(path, text, version))

    async def purge(self, path: str) -> None:
        """Remove the document with all its versions, if there is one. Raises StoreUnavailable."""
        await self._run(lambda: self._purge(path))

    async def names(self, path: str) -> list[str]:
        """Names directly below `path`, sorted. Raises StoreUnavailable."""
        return await self._run(lambda: self._names(path))

    # --- in a thread of the pool -----------------------------------------------------------------------------------

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: self._answered(work))

    def _answered(self, work: Callable[[], T]) -> T:
        """Run `work`, again after a new login if the token was refused. Raises StoreUnavailable for every failure."""
        try:
            try:
                answer = work()
            except failed.Forbidden:
                self._login.renew_at = 0.0
                answer = work()
        except (failed.VaultError, requests.RequestException) as exc:
            self._note(type(exc).__name__)
            raise StoreUnavailable from None  # the original holds the text of the answer
        self._note("")
        return answer

    def _note(self, failure: str) -> None:
        """Log the type of a failure if the last one was another. Its text may hold the request, so it is not logged."""
        if failure and failure != self._last_failure:
            log.warning("store.failed", error=failure)
        self._last_failure = failure

    def _client(self) -> Any:
        client: Any = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._new_client()
        client.token = self._token(client)
        return client

    def _new_client(self) -> Any:
        session = requests.Session()
        session.trust_env = False
        session.verify = self._settings.vault_ca_file or True
        return hvac.Client(
            url=self._settings.vault_url,
            token="",  # not None: hvac would take one from the environment
            session=session,
            verify=session.verify,
            timeout=(CONNECT_TIMEOUT_S, self._settings.vault_timeout),
            allow_redirects=False,
            namespace=self._settings.vault_namespace or None,
        )

    def _token(self, client: Any) -> str:
        login = self._login
        if time.monotonic() < login.renew_at:
            return login.token
        with login.lock:
            if time.monotonic() >= login.renew_at:
                asked_at = time.monotonic()
                client.token = ""
                answer = client.auth.approle.login(
                    self._settings.vault_role_id,
                    self._secret_id,
                    use_token=False,
                    mount_point=self._settings.vault_auth,
                )
                auth = _dict(_dict(answer).get("auth"))
                login.token = str(auth["client_token"])
                login.renew_at = asked_at + float(auth["lease_duration"]) * TOKEN_RENEWAL_FRACTION
            return login.token

    @property
    def _kv(self) -> Any:
        return self._client().secrets.kv.v2

    def _ping(self) -> None:
        client = getattr(self._local, "client", None) or self._new_client()
        self._local.client = client
        if _dict(client.sys.read_health_status(method="GET")).get("sealed") is not False:
            raise StoreUnavailable

    def _prepare(self) -> None:
        mount = self._settings.vault_mount
        found = _dict(_dict(self._kv.read_configuration(mount_point=mount)).get("data"))
        if found.get("max_versions") != 1 or found.get("cas_required") is not True:
            self._kv.configure(max_versions=1, cas_required=True, mount_point=mount)

    def _get(self, path: str) -> Document | None:
        try:
            answer = self._kv.read_secret_version(
                path, mount_point=self._settings.vault_mount, raise_on_deleted_version=True
            )
        except failed.InvalidPath:
            return None
        data = _dict(_dict(answer).get("data"))
        return Document(str(_dict(data.get("data"))[DOCUMENT_FIELD]), int(_dict(data.get("metadata"))["version"]))

    def _version(self, path: str) -> int:
        try:
            answer = self._kv.read_secret_metadata(path, mount_point=self._settings.vault_mount)
        except failed.InvalidPath:
            return 0
        return int(_dict(_dict(answer).get("data"))["current_version"])

    def _put(self, path: str, text: str, version: int) -> int:
        try:
            answer = self._kv.create_or_update_secret(
                path, {DOCUMENT_FIELD: text}, cas=version, mount_point=self._settings.vault_mount
            )
        except failed.InvalidRequest:
            # OpenBao and Vault word the refusal differently, so the version decides whether it was a mismatch.
            found = self._version(path)
            if found == version:
                raise
            raise VersionMismatch from None
        except (failed.InternalServerError, failed.BadGateway, failed.UnexpectedError, requests.RequestException):
            # The write may have taken place: with a full audit disk the server stores it and answers 500.
            found = self._get(path)
            if found and found.version > version and found.text == text:
                return found.version
            raise
        return int(_dict(_dict(answer).get("data"))["version"])

    def _purge(self, path: str) -> None:
        answer = self._kv.delete_metadata_and_all_versions(path, mount_point=self._settings.vault_mount)
        if answer.status_code != requests.codes.no_content:
            raise StoreUnavailable("the secret store gave an unexpected answer")

    def _names(self, path: str) -> list[str]:
        try:
            answer = self._kv.list_secrets(path, mount_point=self._settings.vault_mount)
        except failed.InvalidPath:
            return []
        keys: list[Any] = _dict(_dict(answer).get("data"))["keys"]
        return sorted(str(name) for name in keys)


def _dict(answer: Any) -> dict[str, Any]:
    """`answer` if it is a JSON object; a redirect or an error page is none. Raises StoreUnavailable."""
    if not isinstance(answer, dict):
        raise StoreUnavailable("the secret store gave an unexpected answer")
    return cast("dict[str, Any]", answer)


def _secret_id(path: str) -> str:
    """Content of the secret id file. Raises BadSettings."""
    if not path:
        raise BadSettings("HOLDFAST_VAULT_SECRET_ID_FILE: not set")
    try:
        return Path(path).read_text().strip()
    except OSError:
        raise BadSettings(f"HOLDFAST_VAULT_SECRET_ID_FILE: cannot read {path}") from None
