"""The requests to the Docker engine, each with a deadline. The only module that imports the package `docker`.

The package blocks, so each request runs in a thread. There are a few at most: while an engine hangs, further requests
wait for a thread until their own deadline.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import msgspec

from holdfast.sandbox.drivers.threads import in_daemon_thread

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


class Facts(msgspec.Struct, frozen=True, rename="pascal"):
    """What the engine says of itself: the part of `GET /info` that matters here."""

    server_version: str = ""
    os_type: str = msgspec.field(name="OSType", default="")
    runtimes: dict[str, Any] | None = None
    security_options: tuple[str, ...] | None = None
    memory_limit: bool = False
    swap_limit: bool = False
    pids_limit: bool = False
    cpu_cfs_quota: bool = False
    operating_system: str = ""

    def has(self, option: str) -> bool:
        """Whether `option` is among the security options, such as `name=rootless`."""
        return any(option in entry.split(",") for entry in self.security_options or ())


class State(msgspec.Struct, frozen=True, rename="pascal"):
    """The state of a container. `pid`: its first process, as the engine's machine numbers it; 0: it does not run."""

    pid: int = 0
    oom_killed: bool = msgspec.field(name="OOMKilled", default=False)
    exit_code: int = 0
    error: str = ""


class Image(msgspec.Struct, frozen=True):
    """An image. `volumes`: the folders that it declares as volumes."""

    id: str
    volumes: tuple[str, ...]


class Found(msgspec.Struct, frozen=True):
    """A container in a list."""

    id: str
    labels: dict[str, str]


class Engine:
    """The engine behind the Unix socket `socket`. All methods raise EngineError and EngineAway."""

    def __init__(self, socket: str, *, threads: int, timeout_s: float) -> None:
        """`threads`: requests at the same time. `timeout_s`: seconds for each, the wait for a thread included."""
        self.socket = socket
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(threads)
        self._client: Any = None

    async def facts(self) -> tuple[Facts, str]:
        """What the engine is, and the version of its API. The next requests speak that version."""
        self._client = None
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
        return [Found(entry["Id"], entry.get("Labels") or {}) for entry in found]

    async def _request(self, call: Callable[[Any], T]) -> T:
        """Run `call` with the client of the package in a thread."""
        loop = asyncio.get_running_loop()

        def free() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended before this thread
                loop.call_soon_threadsafe(self._slots.release)

        def run() -> T:
            try:
                return call(self._connected())
            finally:
                free()

        try:
            async with asyncio.timeout(self._timeout_s):
                await self._slots.acquire()  # freed by the thread, which may outlast the deadline
                return await in_daemon_thread(_translated, run)
        except TimeoutError:
            raise EngineAway(f"it did not answer within {self._timeout_s:g} s") from None

    def _connected(self) -> Any:
        """The client of the package. It asks the engine for its version when it is made."""
        if self._client is None:
            import docker  # noqa: PLC0415  a quarter of a second that only this driver pays

            self._client = docker.APIClient(base_url=f"unix://{self.socket}", version="auto", timeout=self._timeout_s)
        return self._client


def _translated(run: Callable[[], T]) -> T:
    """Run it, with the errors of the packages `docker` and `requests` as ours."""
    import docker.errors  # noqa: PLC0415  as above
    import requests  # noqa: PLC0415  as above

    try:
        return run()
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
