"""`holdfast parked`: inputs that were set aside because no harness got through their turn."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from holdfast.cli.exit_codes import USAGE
from holdfast.cli.failure import tell


def parked(
    action: Literal["list", "show", "release", "drop"] = "list",
    *names: str,
    json: Annotated[bool, Parameter(negative=())] = False,
    data: Path | None = None,
    nats_url: str = "",
    nats_credentials: Path | None = None,
) -> int:
    """Show, release or drop the inputs of sessions that were set aside.

    When every harness that works on an input dies of it, the turn is given up, the session goes on, and the input is
    set aside. Release it once the cause is mended: its session takes it as if it had been sent just now.

    For example:

        holdfast parked

        holdfast parked show default.sesn_a0_….17

        holdfast parked release default.sesn_a0_….17

        holdfast parked --nats-url nats://bus.example:4222 --nats-credentials admin.json

    Exit codes: 0 done, 1 it could not be done, 2 no running stack, no parked input of that name, or a mistake in the
    command line.

    Parameters
    ----------
    action
        list: all of them, a line each. show: what they say. release: send them to their session again, unless it has
        them already. drop: delete them for good.
    names
        Names from the list.
    json
        One JSON object a line.
    data
        Folder of the stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    nats_url
        Address of the NATS of a system that no `holdfast up` runs, or several with commas.
    nats_credentials
        A file with `user` and `password` of the user `admin` there, as JSON, as HOLDFAST_NATS_CREDENTIALS is for a
        service.
    """
    from holdfast.cli.embedded import parked as work  # noqa: PLC0415  not for a help text: the import takes long

    if nats_credentials and not nats_url:
        tell("parked", "--nats-credentials is the login for --nats-url: give both")
        return USAGE
    bus = partial(work.named_bus, nats_url, nats_credentials) if nats_url else partial(work.local_bus, data)
    return work.run(action, names, bus, as_json=json)
