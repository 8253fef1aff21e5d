"""`holdfast run`: one task, shown live, through the official SDK."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def run(
    task: str,
    *,
    agent: Path | None = None,
    model: str | None = None,
    dir: Path | None = None,  # noqa: A002  the option is called --dir
    include: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    exclude: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    apply: Annotated[bool, Parameter(negative=())] = False,
    patch: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,  # - is a value
    session: str | None = None,
    data: Path | None = None,
) -> int:
    """Give an agent a task and watch it work.

    Text appears as it is generated, with tool calls, results and usage. When the agent asks for permission or for the
    result of a tool of yours, answer at the prompt. Ctrl-C interrupts the agent; a second one leaves it running.

    For example:

        holdfast run "Write a haiku about durable logs into haiku.txt"

        holdfast run "Make the failing test pass" --dir ./project --apply

        holdfast run "Now add a test for it" --session sesn_a0_...

        holdfast run "Review this" --agent reviewer.yaml --model claude-opus-5-5

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
        Folder whose files are copied into the workspace of the new session, with its .git. What the agent changed in
        its copy is listed at the end; yours are touched only with --apply. Only with a stack on this machine.
        Left out, and named: what git ignores, folders that tools make anew (node_modules, .venv and others), and files
        that may hold secrets (.env, keys, credentials), about which you are asked at a terminal.
    include
        Copy what this pattern names although it would be left out: a path in the folder, or a name anywhere in it, with
        * and ?. Can be given several times.
    exclude
        Leave out what this pattern names. Can be given several times; wins over --include.
    apply
        When the turn ended well, make the folder of --dir hold what the agent made of it: all of it, or nothing when a
        file of yours changed meanwhile. Commits of the agent stay in its copy. Later: holdfast apply SESSION.
    patch
        Write what the agent changed to this file, as a patch for git apply.
    session
        Go on with this session instead of a new one.
    data
        Folder of the running stack. Default: HOLDFAST_DATA, else .holdfast here.
    """
    from holdfast.cli.client import talking  # noqa: PLC0415  not for a help text: the import takes long
    from holdfast.cli.client.files import FileOptions  # noqa: PLC0415  the same

    files = FileOptions(dir=dir, include=include, exclude=exclude, apply=apply, patch=patch)
    return talking.run(task, data, agent=agent, model=model, files=files, session=session)
