"""`holdfast run`: one task, shown live, through the official SDK."""

from pathlib import Path


def run(
    task: str,
    *,
    agent: Path | None = None,
    model: str | None = None,
    dir: Path | None = None,  # noqa: A002  the option is called --dir
    session: str | None = None,
    data: Path | None = None,
) -> int:
    """Give an agent a task and watch it work.

    Text appears as it is generated, with tool calls, results and usage. When the agent asks for permission or for the
    result of a tool of yours, answer at the prompt. Ctrl-C interrupts the agent; a second one leaves it running.

    For example:

        holdfast run "Write a haiku about durable logs into haiku.txt"

        holdfast run "Make the failing test pass" --dir ./project

        holdfast run "Now add a test for it" --session sesn_a0_...

        holdfast run "Review this" --agent reviewer.yaml

    Exit codes: 0 the turn ended well, 1 it failed (an error that was not overcome, or a refusal), 2 no running stack,
    3 the session waits for an answer and nobody was there to give it, 130 interrupted.

    Parameters
    ----------
    task
        What to do, in your own words.
    agent
        YAML or JSON file with the parameters of agents.create. Default: a coding agent with all built-in tools.
    model
        Model to use; replaces that of the file.
    dir
        Folder whose files are copied into the workspace of the new session. Yours are not touched; what the agent
        changed in its copy is listed at the end. Only with a stack on this machine.
    session
        Go on with this session instead of a new one.
    data
        Folder of the running stack. Default: HOLDFAST_DATA, else .holdfast here.
    """
    from holdfast.cli.client import talking  # noqa: PLC0415  not for a help text: the import takes long

    return talking.run(task, data, agent=agent, model=model, folder=dir, session=session)
