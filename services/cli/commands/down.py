"""`holdfast down`: stop the running stack."""

from pathlib import Path


def down(*, data: Path | None = None) -> int:
    """Stop the running stack, however it was started, and return when it has stopped.

    Running tools get a few seconds to finish; every session continues at the next start on the same data.

    For example:

        holdfast down

        holdfast down --data ~/agents

    Exit codes: 0 stopped, 1 it could not be stopped, 2 no running stack, or a mistake in the command line.

    Parameters
    ----------
    data
        Folder of the stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    """
    from holdfast.cli.embedded import down as stopping  # noqa: PLC0415  not for a help text: the import takes long

    return stopping.run(data)
