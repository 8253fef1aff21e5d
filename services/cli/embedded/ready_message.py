"""What `holdfast up` prints when the stack is ready: its address, two lines to paste, the next command."""

import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from holdfast.cli.commands.env import export_lines
from holdfast.cli.embedded.runfile import RunFile

EXAMPLE_TASK = "Write a haiku to poem.txt"


def show(console: Console, run: RunFile, *, scripted: bool, needs_data: bool, notes: Mapping[str, str]) -> None:
    """Print the block. Lines that are meant to be pasted are never wrapped.

    The API key is printed only on a terminal, not into a journal or a file. `needs_data`: other terminals must name the
    data folder, because several stacks run. `notes` are warnings by topic.
    """
    data = data_option(run, needs_data)
    model = "scripted: no key, no cost" if scripted else run.model_base_url
    console.print()
    for label, text in (("API", run.base_url), ("Model", model), ("Data", run.data)):
        _whole(console, f"  {label:<7}{text}")
    console.print()
    for topic, note in notes.items():
        meaning = ". Fine for tasks of your own; not for those of strangers." if topic == "limits" else ""
        warn(console, f"{topic.capitalize()}: {note}{meaning}")
        console.print()
    if not run.has_model_key:
        warn(
            console,
            f"There is no key for {run.model_base_url}, so every task will fail. Stop and start again with one:",
        )
        _whole(console, "    HOLDFAST_MODEL_API_KEY=sk-ant-... holdfast up")
        console.print("  or with a model that needs none:")
        _whole(console, "    holdfast up --scripted\n")
    if console.file.isatty():
        console.print("For programs: Anthropic() reads these two lines.\n")
        for line in export_lines(run.base_url, run.api_key):
            _whole(console, f"  {line}")
    else:
        console.print("For programs: Anthropic() reads what this line sets.\n")
        _whole(console, f'  eval "$({program()} env{data})"')
    console.print("\nIn another terminal:\n")
    _whole(console, f'  {program()} run "{EXAMPLE_TASK}"{data}\n')


def data_option(run: RunFile, is_needed: bool) -> str:
    """` --data FOLDER` if a command needs it to find this stack, else empty."""
    return f" --data {shlex.quote(run.data)}" if is_needed else ""


def error(console: Console, name: str, text: str) -> None:
    """Print a failure: `✗ sandbox: cause`, and below it the other lines of `text`, which may be commands to paste."""
    first, *rest = text.splitlines() or [""]
    lines = [f"✗ {name}: {first}"]
    if console.file.isatty():
        lines = textwrap.wrap(lines[0], max(console.width - 1, 20), subsequent_indent="  ", break_on_hyphens=False)
    console.print(Text("\n".join(lines), "bold red"), soft_wrap=True)
    for line in rest:
        _whole(console, f"  {line.strip()}")


def warn(console: Console, text: str) -> None:
    """Print a yellow sentence, wrapped at words."""
    console.print(Text(f"! {text}", "yellow"))


def program(environ: Mapping[str, str] = os.environ) -> str:
    """How another terminal calls this program: by its name, or by its path if only this shell finds the name."""
    beside = Path(sys.executable).with_name("holdfast")
    found = shutil.which("holdfast", path=environ.get("PATH"))
    if "VIRTUAL_ENV" not in environ and found and Path(found).resolve() == beside.resolve():
        return "holdfast"
    return shlex.quote(str(beside))


def _whole(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)
