"""`holdfast run`: one task, shown live, through the official SDK."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from holdfast.cli.exit_codes import USAGE
from holdfast.cli.failure import tell


def run(
    *task: str,
    stdin: Annotated[bool, Parameter(name="-", negative=(), show=False)] = False,
    session: str | None = None,
    dir: Path | None = None,  # noqa: A002  the option is called --dir
    agent: Path | None = None,
    model: str | None = None,
    include: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    exclude: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    apply: Annotated[bool, Parameter(negative=())] = False,
    patch: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,  # - is a value
    detach: Annotated[bool, Parameter(name=("--detach", "-d"), negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
    data: Path | None = None,
) -> int:
    r"""Give an agent a task and watch it work.

    Several words are one task; - reads it from standard input. Text appears as it is generated, with tool calls,
    results and usage. When the agent asks for permission or for the result of a tool of yours, answer at the prompt;
    "always" holds until this command ends. Ctrl-C interrupts the agent, a second one leaves; Ctrl-\ leaves it working.

    For example:

        holdfast run "Write a haiku about durable logs into haiku.txt"

        holdfast run "Make the failing test pass" --dir ./project --apply

        holdfast run "Now add a test for it" --session 2nesj2f9

        git diff | holdfast run - --agent reviewer.yaml

    An agent file, here one that asks before every call of a tool:

        name: reviewer
        system: You review changes. You never make any.
        tools: [{type: agent_toolset_20260401, default_config: {permission_policy: {type: always_ask}}}]

    Exit codes: 0 the turn ended well (or the task was sent, with --detach), 1 it failed (an error that retries did
    not overcome, or a refusal), 2 no running stack, no key for the model, or a mistake in the command line, 3 the
    session waits for an answer and nobody was there to give it (holdfast answer), 130 interrupted or left.

    Parameters
    ----------
    task
        What to do, in your own words.
    session
        Go on with this session instead of a new one: its id, or the beginning or end of it (4 characters or more). If
        it waits for an answer, you are asked first.
    dir
        Folder whose files are copied into the workspace of the new session, with its .git. What the agent changed in
        its copy is listed at the end; yours are touched only with --apply. Only with a stack on this machine.
        These are not copied, and the command names them: files that git ignores, folders that tools can make again
        (node_modules, .venv and others), and files that may hold secrets (.env, keys, credentials); at a terminal you
        are asked about the latter.
    include
        Copy files that would be left out. The pattern matches a path in the folder, or a name anywhere in it, with `*`
        and `?`. Can be given several times.
    exclude
        Leave out files that the pattern matches. Can be given several times; wins over --include.
    apply
        When the turn ended well, bring all changes of the agent into the folder of --dir, or none of them if a file of
        yours has changed meanwhile. Commits of the agent stay in its copy. Later: holdfast apply SESSION.
    patch
        Write what the agent changed to this file, as a patch for git apply.
    agent
        YAML or JSON file with the parameters of agents.create. Default: a coding agent with all built-in tools.
    model
        Model to use; replaces that of the file.
    detach
        Send the task, print the id of the session, and end. holdfast attach shows it later.
    json
        Print every event as the API has it, one JSON object a line, and an object of type "result" at the end. The
        command asks no questions.
    data
        Folder of the running stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    """
    refused = _refused(
        session,
        fixed={"--agent": agent, "--model": model, "--dir": dir},
        detach=detach,
        json=json,
        at_end={"--apply": apply, "--patch": patch},
    )
    text = ""
    if not refused:
        text, refused = _task(task, stdin=stdin)
    if refused:
        tell("run", refused)
        return USAGE
    from holdfast.cli.client.api_command import run_api_command  # noqa: PLC0415  not for a help text: the import takes long
    from holdfast.cli.client.files.run_files import FileOptions  # noqa: PLC0415
    from holdfast.cli.client.run import RunOptions, TaskRun  # noqa: PLC0415

    file_options = FileOptions(dir=dir, include=include, exclude=exclude, apply=apply, patch=patch)
    options = RunOptions(
        task=text, agent=agent, model=model, files=file_options, session=session, detach=detach, json=json, data=data
    )
    return run_api_command("run", data, lambda target: TaskRun(target, options).work())


def _refused(
    session: str | None, *, fixed: dict[str, object], detach: bool, json: bool, at_end: dict[str, object]
) -> str:
    """Why these options exclude each other; empty if they do not. The options `fixed` are for new sessions only, the
    options `at_end` take effect when the turn has ended."""
    given = [name for name, value in fixed.items() if value is not None]
    if session is not None and given:
        names = " and ".join(given)
        what = (
            "files" if given == ["--dir"] else "agent and model" if "--dir" not in given else "agent, model and files"
        )
        return (
            f"{names} cannot be given with --session: a session keeps the {what} it began with.\n"
            f"Leave {names} out to go on with it, or leave --session out to begin a new session."
        )
    if detach and json:
        return "--detach and --json exclude each other: --json prints events until the end, --detach prints none."
    if detach and (late := [name for name, value in at_end.items() if value]):
        return (
            f"{' and '.join(late)} would take effect when the agent is done, but --detach does not wait for it.\n"
            "Leave --detach out, or use holdfast apply and holdfast diff later."
        )
    return ""


def _task(words: tuple[str, ...], *, stdin: bool) -> tuple[str, str]:
    """The task and an empty text, or an empty text and why there is no task."""
    text = " ".join(words)
    if stdin:
        if words:
            return "", "the task is given twice: as words, and with - from standard input. Leave one out."
        try:
            text = sys.stdin.buffer.read().decode()
        except UnicodeDecodeError as exc:
            return "", f"the task on standard input is not UTF-8: byte {exc.start} cannot be read."
    try:
        text.encode()
    except UnicodeEncodeError:
        return "", "the task holds bytes that are not UTF-8."
    if not text.strip():
        where = "on standard input" if stdin else "given"
        return "", f'no task is {where}. Say what to do: holdfast run "Write a haiku into haiku.txt"'
    return text, ""
