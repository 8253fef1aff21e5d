"""The requests to the Docker engine, each with a deadline. The only module that imports the package `docker`.

The package blocks, so each request runs in a thread. There are a few at most: while an engine hangs, further requests
wait for a thread until their own deadline.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import msgspec

from holdfast.sandbox.drivers.docker import door
from holdfast.sandbox.drivers.docker.facts import Facts, Found, Image, State
from holdfast.sandbox.threads import in_daemon_thread

T = TypeVar("T")

NOT_FOUND: Final = 404
"""HTTP status for a container or an image that does not exist."""


class EngineError(Exception):
    """The engine refused a request. The text is its own; `status` that of HTTP."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class EngineAway(Exception):
    """The engine cannot be reached, or has not answered in time. The text is half a sentence."""


class Engine:
    """The engine behind the Unix socket `socket`. All methods raise EngineError and EngineAway."""

    def __init__(self, socket: str, *, threads: int, timeout_s: int) -> None:
        """`threads`: requests at the same time. `timeout_s`: seconds for each, the wait for a thread included."""
        self.socket = socket
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(threads)
        self._client: Any = None

    async def facts(self) -> tuple[Facts, str]:
        """What the engine is, and the version of its API. The next requests speak that version."""
        info = await self._request(lambda client: client.info())
        return msgspec.convert(info, Facts), str(self._client.api_version)

    async def image(self, name: str) -> Image | None:
        """The image of that name; None if the engine does not have it."""
        try:
            found = await self._request(lambda client: client.inspect_image(name))
        except EngineError as exc:
            if exc.status == NOT_FOUND:
                return None
            raise
        return Image(found["Id"], tuple(found["Config"].get("Volumes") or ()))

    async def create(self, name: str, config: dict[str, Any]) -> str:
        """Make a container, in the words of the engine's API. Returns its id."""
        made = await self._request(lambda client: client.create_container_from_config(config, name))
        return str(made["Id"])

    async def start(self, container: str) -> None:
        """Start a container."""
        await self._request(lambda client: client.start(container))

    async def state(self, container: str) -> State:
        """The state of a container."""
        found = await self._request(lambda client: client.inspect_container(container))
        return msgspec.convert(found["State"], State)

    async def remove(self, container: str) -> None:
        """End and remove a container, by id or name. One that does not exist is ignored."""
        try:
            await self._request(lambda client: client.remove_container(container, v=True, force=True))
        except EngineError as exc:
            if exc.status != NOT_FOUND and "already in progress" not in str(exc):
                raise

    async def containers(self, labels: Iterable[str]) -> list[Found]:
        """All containers, also those that have ended, with all of these labels (`name=value`)."""
        wanted = {"label": list(labels)}
        found = await self._request(lambda client: client.containers(all=True, filters=wanted))
        return [Found(entry["Id"], entry["Names"][0].lstrip("/"), entry.get("Labels") or {}) for entry in found]

    def close(self) -> None:
        """Close the connections that wait for a request; the next request opens others."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def _request(self, call: Callable[[Any], T]) -> T:
        """Run `call` with the client of the package in a thread."""
        loop = asyncio.get_running_loop()

        def free() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended before this thread
                loop.call_soon_threadsafe(self._slots.release)

        def run() -> T:
            try:
                return self._answered(call)
            except EngineAway:
                self.close()  # the next engine may speak another version
                raise
            finally:
                free()

        try:
            async with asyncio.timeout(self._timeout_s):
                await self._slots.acquire()  # freed by the thread, which may outlast the deadline
                return await in_daemon_thread(run)
        except TimeoutError:
            raise EngineAway(f"it did not answer within {self._timeout_s:g} s") from None

    def _answered(self, call: Callable[[Any], T]) -> T:
        """Make the request, with the errors of the packages `docker` and `requests` as ours. Blocks."""
        import docker.errors  # noqa: PLC0415  a quarter of a second that only this driver pays
        import requests  # noqa: PLC0415  as above

        # The package leaks a socket for each connection that fails.
        if failure := door.look(self.socket).error:
            raise EngineAway(os.strerror(failure))
        try:
            if self._client is None:
                base_url = f"unix://{self.socket}"
                self._client = docker.APIClient(base_url=base_url, version="auto", timeout=self._timeout_s)
            return call(self._client)
        except docker.errors.APIError as exc:
            raise EngineError(str(exc.explanation or exc), int(exc.status_code or 0)) from None
        except (docker.errors.DockerException, requests.RequestException, OSError) as exc:
            raise EngineAway(_innermost(exc)) from None


def _innermost(exc: BaseException) -> str:
    """The text of the error below all others: the packages wrap it up to four times."""
    while (inner := exc.__cause__ or exc.__context__) is not None:
        exc = inner
    text = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
