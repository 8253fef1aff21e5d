"""`holdfast attach`: watch an existing session."""

from pathlib import Path


def attach(session: str, /, *, data: Path | None = None) -> int:
    """Show the last answer of a session, then watch it until the agent is idle.

    Questions of the agent can be answered at the prompt. Ctrl-C leaves; the agent goes on working.

    For example:

        holdfast attach 2nesj2f9

    Exit codes: 0 the agent rests, or you left; 1 its turn failed, or the session cannot be read; 2 no running
    stack, or a mistake in the command line; 3 the session waits for an answer and nobody was there to give it.

    Parameters
    ----------
    session
        Id of the session or a part of it; holdfast sessions lists them.
    data
        Folder of the running stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    """
    from holdfast.cli.client.api_command import run_api_command  # noqa: PLC0415  not for a help text: the import takes long
    from holdfast.cli.client.attach import attach as attach_session  # noqa: PLC0415

    return run_api_command("attach", data, lambda target: attach_session(target, session, data))
