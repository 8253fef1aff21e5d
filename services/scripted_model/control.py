"""The control routes: a test reads what the model was asked, and holds its answers at a chosen token.

README.md lists them.
"""

import math
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal
from urllib.parse import parse_qs

import msgspec

from holdfast.scripted_model.http import Connection, Request
from holdfast.scripted_model.journal import Gates, Journal
from holdfast.scripted_model.scenario import BadScenario, Scenario, Script

MAX_WAIT_S: Final = 120.0
"""Upper bound of `timeout` in a control request."""


class _GateRequest(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    do: Literal["wait", "release"]
    count: int = 1
    passes: int | None = None
    timeout: float = 10.0


class Control:
    """Answers the control routes."""

    def __init__(self, journal: Journal, gates: Gates, script: Script, forget: Callable[[], None]) -> None:
        self._journal = journal
        self._gates = gates
        self._script = script
        self._forget = forget

    def route(self, connection: Connection, request: Request) -> Coroutine[Any, Any, None] | None:
        """The coroutine that answers this request; None if it is no control route."""
        match request.method, request.path:
            case ["GET", "/_requests"]:
                return self._run(connection, self._requests(request))
            case ["POST", "/_gate"]:
                return self._run(connection, self._gate(request))
            case ["POST", "/_scenarios"]:
                return self._run(connection, self._add(request))
            case ["POST", "/_reset"]:
                return self._run(connection, self._reset())
            case ["GET", "/_health"]:
                return self._run(connection, self._health())
            case _:
                return None

    async def _run(self, connection: Connection, work: Coroutine[Any, Any, Any]) -> None:
        try:
            status, body = 200, await work
        except TimeoutError:
            status, body = 408, {"error": "it did not happen in time"}
        except (msgspec.MsgspecError, BadScenario, ValueError) as exc:
            status, body = 400, {"error": str(exc)}
        connection.send(status, msgspec.json.encode(body))

    async def _requests(self, request: Request) -> Any:
        query = {name: values[-1] for name, values in parse_qs(request.query).items()}
        count, ended, status = (int(query.get(name, "0")) for name in ("count", "ended", "status"))
        deadline = min(float(query.get("timeout", "10")), MAX_WAIT_S)
        mark = query.get("mark", "")
        return await self._journal.wait(mark, status=status, count=count, ended=ended, deadline=deadline)

    async def _gate(self, request: Request) -> Any:
        asked = msgspec.json.decode(request.body, type=_GateRequest)
        if asked.do == "release":
            self._gates.release(asked.name, math.inf if asked.passes is None else asked.passes)
        else:
            await self._gates.wait(asked.name, count=asked.count, deadline=min(asked.timeout, MAX_WAIT_S))
        return {"reached": self._gates.reached(asked.name)}

    async def _add(self, request: Request) -> Any:
        self._script.add(msgspec.json.decode(request.body, type=dict[str, Scenario]))
        return {"scenarios": sorted(self._script.scenarios)}

    async def _reset(self) -> Any:
        self._journal.clear()
        self._gates.clear()
        self._forget()
        return {}

    async def _health(self) -> Any:
        return {"scenarios": sorted(self._script.scenarios)}
