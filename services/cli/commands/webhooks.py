"""`holdfast webhooks`: endpoints that are told what happens to sessions."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

Action = Literal["list", "show", "create", "enable", "disable", "skip", "deliveries", "test", "rotate", "delete"]


def webhooks(
    action: Action = "list",
    *names: str,
    events: str = "",
    description: str = "",
    overlap: int = 24 * 3600,
    json: Annotated[bool, Parameter(negative=())] = False,
    data: Path | None = None,
) -> int:
    """Show and change webhooks: addresses to which Holdfast posts what happens to sessions.

    Each event is signed as the official SDK checks it (client.beta.webhooks.unwrap), and is sent until the endpoint has
    taken it, in order. What is behind it waits. An endpoint that takes nothing for a day is disabled. In a line the
    values have tabs between them: id, status, events, address, and what is wrong.

    For example:

        holdfast webhooks create https://example.com/hooks --events session.status_idled,session.deleted

        holdfast webhooks

        holdfast webhooks rotate whk_06x… --overlap 3600

        holdfast webhooks skip whk_06x… whe_06x…

    Exit codes: 0, 1 the API refused, or the endpoint did not take a test, 2 no running stack, or a mistake in the
    command line.

    Parameters
    ----------
    action
        list: all of them, a line each. show: everything about one. create: for an address; prints the secret, which is
        shown at no other time. enable, disable: send, or do not; what has waited is sent then. skip: leave out an event
        that the endpoint does not take. deliveries: the last ones, newest first. test: send a test event now. rotate:
        replace the secret; prints the new one, and until when the earlier ones are valid. delete: for good, with what
        waits.
    names
        Ids from the list; for create an address, for skip an id and that of an event.
    events
        For create: types of events with commas between them, such as session.status_idled. Default: all that there are.
    description
        For create: a text of your own.
    overlap
        For rotate: seconds for which the earlier secrets stay valid, at most a week. 0 ends them at once: for a secret
        that others may know.
    json
        One JSON object a line.
    data
        Folder of the running stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    """
    from holdfast.cli.client import webhooks as work  # noqa: PLC0415  not for a help text: the import takes long
    from holdfast.cli.client.api_command import run_api_command  # noqa: PLC0415

    return run_api_command(
        "webhooks",
        data,
        lambda target: work.carry_out(
            target, action, names, events=events, description=description, overlap_s=overlap, as_json=json
        ),
    )
