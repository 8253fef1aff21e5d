"""The commands that talk to a running stack: what goes wrong becomes a line or two, and an exit code."""

import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import anthropic
import uvloop

from holdfast.cli.client import answer as answering
from holdfast.cli.client import attach as attaching
from holdfast.cli.client import diff as results
from holdfast.cli.client import tail as reading
from holdfast.cli.client.answer import CannotAnswer, Verdict
from holdfast.cli.client.definitions import BadAgentFile
from holdfast.cli.client.files.apply_files import CannotApply
from holdfast.cli.client.files.changes import CannotCompare
from holdfast.cli.client.files.copy_in import CannotCopy
from holdfast.cli.client.run import INTERRUPTED, RunOptions, TaskRun
from holdfast.cli.client.session_ids import UnknownSession
from holdfast.cli.client.target import FAILED, NoStack, Target, find
from holdfast.cli.client.terminal.figures import duration
from holdfast.cli.embedded.model_endpoint import VENDOR
from holdfast.cli.failure import tell
from holdfast.cli.sanitize import clean

NO_STACK: Final = 2


class NoModelKey(NoStack):
    """The stack has no key for its model."""


def run(options: RunOptions) -> int:
    def work(target: Target) -> Coroutine[Any, Any, int]:
        _check_key(target)
        return TaskRun(target, options).work()

    return _talk("run", options.data, work)


def attach(session: str, data: Path | None) -> int:
    return _talk("attach", data, lambda target: attaching.attach(target, session, data))


def answer(
    session: str, verdict: Verdict | None, data: Path | None, *, message: str, result: str | None, call: str
) -> int:
    return _talk(
        "answer",
        data,
        lambda target: answering.answer(target, session, verdict, message=message, result=result, call=call, data=data),
    )


def tail(session: str, first: int, data: Path | None, *, live: bool, as_json: bool) -> int:
    show = reading.show_live if live else reading.show_stored
    return _talk("tail", data, lambda target: show(target, session, first, as_json=as_json))


def sessions(limit: int, data: Path | None, *, archived: bool, as_json: bool) -> int:
    return _talk(
        "sessions",
        data,
        lambda target: reading.show_sessions(target, limit, include_archived=archived, as_json=as_json),
    )


def diff(session: str, data: Path | None, show: results.Show, patch: Path | None) -> int:
    return _talk("diff", data, lambda target: results.show_diff(target, session, show, patch))


def apply(session: str, data: Path | None, folder: Path | None, exclude: tuple[str, ...]) -> int:
    return _talk("apply", data, lambda target: results.apply_session(target, session, folder, exclude))


def _check_key(target: Target) -> None:
    """Raises NoModelKey when every request to the model would be refused. Other vendors' models may need no key."""
    stack = target.local
    if stack is None or stack.has_model_key:
        return
    if target.is_vendors_model:
        raise NoModelKey(
            f"the stack in {stack.data} has no key for the model at {stack.model_base_url or VENDOR}.\n"
            "Stop it and start it with one:  HOLDFAST_MODEL_API_KEY=sk-ant-... holdfast up\n"
            "Or with a model that needs none: holdfast up --scripted"
        )


def _talk(command: str, data: Path | None, work: Callable[[Target], Coroutine[Any, Any, int]]) -> int:
    """Run `work` against the stack of `data` and return its exit code; what goes wrong is said in a line or two."""
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
    except (BadAgentFile, CannotCopy, CannotCompare, CannotApply, UnknownSession, CannotAnswer) as exc:
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
