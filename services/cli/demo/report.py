"""The end of the demo: what was checked, the verdict, and what to do next."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from holdfast.cli.demo.checks import Check
from holdfast.cli.embedded.ready_message import program


def show(console: Console, found: Sequence[Check]) -> None:
    """Print one line for each check."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    for item in found:
        claim = Text.assemble(item.claim, (f": {item.why}", "dim"))
        table.add_row("[bold green]yes[/]" if item.holds else "[bold red]NO[/]", claim)
    console.print(table)


def verdict(console: Console, found: Sequence[Check]) -> None:
    """Print whether the demo passed."""
    failed = [item.claim for item in found if not item.holds]
    if failed:
        console.print(f"[bold red]Failed.[/] Not so: {'; '.join(failed)}.")
        return
    console.print(
        "[bold green]Passed.[/] The process at work was killed with kill -9; another one went on. "
        "Nothing was lost, nothing was done twice."
    )


def next_steps(console: Console) -> None:
    """Print the commands to try next."""
    console.print("\nNext, your own stack; then, in another terminal, a task for it:\n")
    for line in (f"{program()} up --scripted", f'{program()} run "Write a haiku to poem.txt"'):
        console.print(Text(f"  {line}"), soft_wrap=True)
