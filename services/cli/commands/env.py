"""`holdfast env`: print shell lines with which a program finds the running stack."""

import shlex
from pathlib import Path

from holdfast.cli.exit_codes import NO_STACK
from holdfast.cli.failure import tell


def env(*, data: Path | None = None) -> int:
    """Print the two export lines with which the anthropic SDK finds the running stack.

    The second line holds the API key: do not print it into a log.

    For example:

        eval "$(holdfast env)"

    Exit codes: 0 printed, 2 no running stack, or a mistake in the command line.

    Parameters
    ----------
    data
        Folder of the stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    """
    from holdfast.cli.client.target import NoStack, find  # noqa: PLC0415  not for a help text: the import takes long

    try:
        target = find(data)
    except NoStack as exc:
        tell("env", str(exc))
        return NO_STACK
    print("\n".join(export_lines(target.base_url, target.api_key)))
    return 0


def export_lines(base_url: str, api_key: str) -> list[str]:
    """Lines for a POSIX shell that set the two variables that `Anthropic()` reads."""
    return [
        f"export ANTHROPIC_BASE_URL={shlex.quote(base_url)}",
        f"export ANTHROPIC_API_KEY={shlex.quote(api_key)}",
    ]
