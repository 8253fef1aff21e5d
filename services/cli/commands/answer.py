"""`holdfast answer`: answer an open call of a waiting session."""

from pathlib import Path
from typing import Literal

from holdfast.cli.exit_codes import USAGE
from holdfast.cli.failure import tell


def answer(
    session: str,
    verdict: Literal["allow", "deny"] | None = None,
    /,
    *,
    message: str = "",
    result: str | None = None,
    call: str = "",
    data: Path | None = None,
) -> int:
    """Answer what a session waits for: a permission, or the result of a tool of yours.

    Without an answer, list the open calls. The command does not wait for the agent; holdfast attach does.

    For example:

        holdfast answer 2nesj2f9

        holdfast answer 2nesj2f9 allow

        holdfast answer 2nesj2f9 deny --message "not on a Saturday"

        holdfast answer 2nesj2f9 --result "sunny, 21 degrees" --call 8kq2m0zc

    Exit codes: 0 the answer was sent, or the list was shown; 1 it does not fit what the session waits for, or
    nothing is open; 2 no running stack, or a mistake in the command line.

    Parameters
    ----------
    session
        Id of the session or a part of it.
    verdict
        Whether the tool may be called.
    message
        Why not; the agent is told. Only with deny.
    result
        The result of a custom tool.
    call
        The end of the id of the call, when several are open.
    data
        Folder of the running stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    """
    refused = ""
    if message and verdict != "deny":
        refused = "--message is the reason of a refusal: it needs deny."
    elif verdict and result is not None:
        refused = f"{verdict} and --result exclude each other: a permission has no result."
    elif call and not verdict and result is None:
        refused = "--call needs an answer: allow, deny or --result TEXT."
    if refused:
        tell("answer", refused)
        return USAGE
    from holdfast.cli.client.answer import answer as answer_session  # noqa: PLC0415  not for a help text: the import takes long
    from holdfast.cli.client.api_command import run_api_command  # noqa: PLC0415

    return run_api_command(
        "answer",
        data,
        lambda target: answer_session(target, session, verdict, message=message, result=result, call=call, data=data),
    )
