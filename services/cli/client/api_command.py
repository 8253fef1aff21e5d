"""Runs a command that uses the API of a running stack: its failures become a line or two, and an exit code."""

import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import anthropic
import httpx2
import uvloop

from holdfast.cli.client.errors import CannotDo
from holdfast.cli.client.target import API_CONNECT_TIMEOUT_S, NoStack, Target, find
from holdfast.cli.client.terminal.figures import duration
from holdfast.cli.exit_codes import FAILED, INTERRUPTED, NO_STACK
from holdfast.cli.failure import tell
from holdfast.cli.sanitize import clean
from holdfast.process.settings import BadSettings


def run_api_command(command: str, data: Path | None, work: Callable[[Target], Coroutine[Any, Any, int]]) -> int:
    """Find the stack of `data` and run `work` against it; returns the exit code.

    An expected failure is printed in a line or two, without a traceback.
    """
    began, address, local = time.monotonic(), "", False
    try:
        target = find(data)
        address, local = target.base_url, target.local is not None
        return uvloop.run(_work(target, work))
    except NoStack as exc:
        tell(command, str(exc))
        return NO_STACK
    except anthropic.APIStatusError as exc:
        request = f" (request {exc.request_id})" if exc.request_id else ""
        tell(command, f"{clean(_message(exc))}{request}")
    except anthropic.APIConnectionError:
        tried = duration(time.monotonic() - began)
        tell(
            command,
            f"no answer from {address} for {tried}. Is it running? holdfast status"
            + ("\nSessions are stored and safe; they go on when the stack runs." if local else ""),
        )
    except (CannotDo, BadSettings) as exc:
        tell(command, clean(str(exc)))
    except KeyboardInterrupt:
        if command == "run":
            tell(command, "interrupted before the task was sent")
        return INTERRUPTED
    return FAILED


async def _work(target: Target, work: Callable[[Target], Coroutine[Any, Any, int]]) -> int:
    if target.local is None:
        await check_api(target)
    return await work(target)


async def check_api(target: Target) -> None:
    """Raises CannotDo if a server that is no API of Holdfast answers at the address: the SDK cannot read its answers.

    Errors and silence are left to the command, which says more of them.
    """
    url = target.base_url.rstrip("/")
    try:
        async with httpx2.AsyncClient(timeout=API_CONNECT_TIMEOUT_S) as client:
            answer = await client.get(f"{url}/v1/sessions?limit=1", headers={"x-api-key": target.api_key})
        listed: Any = answer.json() if answer.is_success else {"data": []}
    except httpx2.HTTPError:
        return
    except ValueError:  # no JSON
        listed = None
    found = cast("dict[str, Any]", listed).get("data") if isinstance(listed, dict) else None
    if not isinstance(found, list):
        raise CannotDo(f"{url} is no API of Holdfast: its list of sessions cannot be read. Check HOLDFAST_BASE_URL.")


def _message(exc: anthropic.APIStatusError) -> str:
    match exc.body:
        case {"error": {"message": str(text)}}:
            return f"{exc.status_code}: {text}"
        case _:
            return f"the API answered {exc.status_code}"
