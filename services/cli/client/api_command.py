"""Runs a command that uses the API of a running stack: its failures become a line or two, and an exit code."""

import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anthropic
import uvloop

from holdfast.cli.client.errors import CannotDo
from holdfast.cli.client.target import NoStack, Target, find
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
        return uvloop.run(work(target))
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


def _message(exc: anthropic.APIStatusError) -> str:
    match exc.body:
        case {"error": {"message": str(text)}}:
            return f"{exc.status_code}: {text}"
        case _:
            return f"the API answered {exc.status_code}"
