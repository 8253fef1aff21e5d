"""Exit codes that several commands have. Pure."""

from typing import Final

FAILED: Final = 1
"""The command could not do what it was asked for."""

USAGE: Final = 2
"""A mistake in the command line; the parser of the options uses the same code."""

NO_STACK: Final = 2
"""No running stack was found, or nothing of that name in it."""

WAITS: Final = 3
"""The session waits for an answer and nobody was there to give it."""

INTERRUPTED: Final = 130
"""Ctrl-C: 128 + SIGINT, as shells have it."""

PIPE_CLOSED: Final = 141
"""The reader of the output is gone (`holdfast … | head`): 128 + SIGPIPE, as other programs have it."""
