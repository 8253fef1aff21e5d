"""`holdfast status`: is everything well, and how much is stored."""

from pathlib import Path


def status(*, data: Path | None = None) -> int:
    """Show how the stack is: each process with its health and memory, the versions, and the size of each stream.

    A process that is not ready says which of its checks fails; its log tells why.

    For example:

        holdfast status

        holdfast status --data ~/agents

    Exit codes: 0 all is well, 1 something is not ready, 2 no running stack.

    Parameters
    ----------
    data
        Folder of the stack. Default: HOLDFAST_DATA, else .holdfast here.
    """
    from holdfast.cli.embedded import reporting  # noqa: PLC0415  not for a help text: the import takes long

    return reporting.run(data)
