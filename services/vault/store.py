"""The secret store: documents in the KV version 2 engine of OpenBao or HashiCorp Vault.

A document is one JSON *string* under one field, because the audit device of the server hashes strings but writes
numbers and booleans in clear. The engine keeps one version of each document: an older version would keep a rotated
secret readable. Every write is a check-and-set. A removal removes the metadata too, since any other can be undone.

`StoreApi` blocks, so calls run in a bounded pool of threads.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar, cast

import msgspec
import structlog

from holdfast.vault.errors import StoreUnavailable, VersionMismatch
from holdfast.vault.settings import VaultSettings
from holdfast.vault.store_api import RequestFailed, StoreApi, quoted

log = structlog.get_logger()

DOCUMENT_FIELD: Final = "j"
"""The field of a stored document that holds its text."""

_NOT_FOUND: Final = 404
_BAD_REQUEST: Final = 400

_REFUSED_STATUS: Final = frozenset((401, 403, 404, 405, 412, 429, 501, 503))
"""Errors that say that a write has not taken place: no permission, no mount, too many requests, sealed."""

T = TypeVar("T")


class Document(msgspec.Struct, frozen=True):
    """A stored text with its version, which a replacement has to name."""

    text: str
    version: int


class Store:
    """Documents by path. Only `paths.py` makes paths; they are below the mount."""

    def __init__(self, settings: VaultSettings) -> None:
        """Raises BadSettings; see `StoreApi`."""
        self._api = StoreApi(settings)
        self._mount = quoted(settings.vault_mount)
        self._last_failure = ""
        self._pool = ThreadPoolExecutor(settings.vault_threads, thread_name_prefix="vault")

    async def close(self) -> None:
        """Wait for the requests in progress, none of which takes longer than its timeout, and close the connections."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
        self._api.close()

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
        """Run `work`. Raises StoreUnavailable for every failure of the server."""
        try:
            answer = work()
        except RequestFailed as exc:
            self._note(str(exc))
            raise StoreUnavailable from None
        self._note("")
        return answer

    def _note(self, failure: str) -> None:
        """Log the kind of a failure if the last one was another."""
        if failure and failure != self._last_failure:
            log.warning("store.failed", error=failure)
        self._last_failure = failure

    def _ping(self) -> None:
        if _dict(self._api.health()).get("sealed") is not False:
            raise StoreUnavailable

    def _prepare(self) -> None:
        wanted = {"max_versions": 1, "cas_required": True}
        found = _data(self._api.call("GET", f"{self._mount}/config"))
        if any(found.get(name) != value for name, value in wanted.items()):
            self._api.call("POST", f"{self._mount}/config", wanted)

    def _get(self, path: str) -> Document | None:
        try:
            data = _data(self._api.call("GET", self._document(path)))
        except RequestFailed as exc:
            if exc.status == _NOT_FOUND:
                return None
            raise
        return Document(str(_dict(data.get("data"))[DOCUMENT_FIELD]), int(_dict(data.get("metadata"))["version"]))

    def _version(self, path: str) -> int:
        try:
            return int(_data(self._api.call("GET", self._metadata(path)))["current_version"])
        except RequestFailed as exc:
            if exc.status == _NOT_FOUND:
                return 0
            raise

    def _put(self, path: str, text: str, version: int) -> int:
        body = {"data": {DOCUMENT_FIELD: text}, "options": {"cas": version}}
        try:
            return int(_data(self._api.call("POST", self._document(path), body))["version"])
        except RequestFailed as exc:
            if exc.status in _REFUSED_STATUS:
                raise
            if exc.status == _BAD_REQUEST:
                # OpenBao and Vault word the refusal differently, so the version decides whether it was a mismatch.
                if self._version(path) == version:
                    raise
                raise VersionMismatch from None
            # The write may have taken place: with a full audit disk the server stores it and answers 500.
            found = self._get(path)
            if found and found.version > version and found.text == text:
                return found.version
            raise

    def _purge(self, path: str) -> None:
        if self._api.call("DELETE", self._metadata(path)) is not None:
            raise StoreUnavailable("the secret store gave an unexpected answer")

    def _names(self, path: str) -> list[str]:
        try:
            keys: list[Any] = _data(self._api.call("LIST", self._metadata(path)))["keys"]
        except RequestFailed as exc:
            if exc.status == _NOT_FOUND:
                return []
            raise
        return sorted(str(name) for name in keys)

    def _document(self, path: str) -> str:
        return f"{self._mount}/data/{quoted(path)}"

    def _metadata(self, path: str) -> str:
        return f"{self._mount}/metadata/{quoted(path)}"


def _data(answer: Any) -> dict[str, Any]:
    """The field `data` of an answer. Raises StoreUnavailable."""
    return _dict(_dict(answer).get("data"))


def _dict(answer: Any) -> dict[str, Any]:
    """`answer` if it is a JSON object; a redirect or an error page is none. Raises StoreUnavailable."""
    if not isinstance(answer, dict):
        raise StoreUnavailable("the secret store gave an unexpected answer")
    return cast("dict[str, Any]", answer)
