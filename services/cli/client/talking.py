"""The commands that talk to a running stack: what goes wrong becomes a line or two, and an exit code."""

import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import anthropic
import uvloop

from holdfast.cli.client import reading, results
from holdfast.cli.client.apply import CannotApply
from holdfast.cli.client.changes import CannotCompare
from holdfast.cli.client.definitions import BadAgentFile
from holdfast.cli.client.files import FileOptions
from holdfast.cli.client.session_ids import UnknownSession
from holdfast.cli.client.target import FAILED, NoStack, Target, find
from holdfast.cli.client.task import INTERRUPTED, Task
from holdfast.cli.client.workspace import CannotCopy

NO_STACK: Final = 2


def run(
    task: str, data: Path | None, *, agent: Path | None, model: str | None, files: FileOptions, session: str | None
) -> int:
    return _talk("run", data, lambda target: Task(target).work(task, agent, model, files, session))


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


def _talk(command: str, data: Path | None, work: Callable[[Target], Coroutine[Any, Any, int]]) -> int:
    """Run `work` against the stack of `data` and return its exit code; what goes wrong is said in a line or two."""
    try:
        return uvloop.run(work(find(data)))
    except NoStack as exc:
        print(f"holdfast {command}: {exc}", file=sys.stderr)
        return NO_STACK
    except anthropic.APIStatusError as exc:
        request = f" (request {exc.request_id})" if exc.request_id else ""
        print(f"holdfast {command}: {_message(exc)}{request}", file=sys.stderr)
    except anthropic.APIConnectionError:
        print(f"holdfast {command}: the API does not answer. Is it running? holdfast status", file=sys.stderr)
    except (BadAgentFile, CannotCopy, CannotCompare, CannotApply, UnknownSession) as exc:
        print(f"holdfast {command}: {exc}", file=sys.stderr)
    except KeyboardInterrupt:
        return INTERRUPTED
    return FAILED


def _message(exc: anthropic.APIStatusError) -> str:
    match exc.body:
        case {"error": {"message": str(text)}}:
            return f"{exc.status_code}: {text}"
        case _:
            return f"the API answered {exc.status_code}"
