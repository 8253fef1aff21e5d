"""`holdfast explain`: where the time and the tokens of a session went, without a word of what was said in it."""

import os
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from holdfast.cli.exit_codes import USAGE
from holdfast.cli.failure import tell


def explain(
    session: str,
    /,
    *,
    json: Annotated[bool, Parameter(negative=())] = False,
    data: Path | None = None,
    nats_url: str = "",
    nats_credentials: Path | None = None,
) -> int:
    """Show where the time and the tokens of a session went, who drove it, what failed, and what it waits for.

    It is made of times, ids, counts and names of Holdfast alone. Nothing that people, models or tools said is read, so
    the output can be given to somebody who must not see that: no message, no prompt, no name of an agent or a custom
    tool, no title, no metadata.

    For example:

        holdfast explain esj2f91k

        holdfast explain esj2f91k --json

        holdfast explain sesn_a0_… --nats-url nats://bus.example:4222 --nats-credentials admin.json

    Exit codes: 0, 1 the session cannot be read, 2 no running stack, or a mistake in the command line.

    Parameters
    ----------
    session
        Id of the session, or its beginning or end (4 characters or more); holdfast sessions lists them.
    json
        Print one JSON object. Times are microseconds since 1970, durations are seconds.
    data
        Folder of the stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    nats_url
        Address of the NATS of a system that no `holdfast up` runs, or several with commas.
    nats_credentials
        A file with `user` and `password` of the user `admin` there, as JSON, as HOLDFAST_NATS_CREDENTIALS is for a
        service.
    """
    from holdfast.cli.embedded import explain as work  # noqa: PLC0415  not for a help text: the import takes long
    from holdfast.cli.embedded.parked import local_bus, named_bus  # noqa: PLC0415

    if nats_credentials and not nats_url:
        tell("explain", "--nats-credentials is the login for --nats-url: give both")
        return USAGE
    bus = partial(named_bus, nats_url, nats_credentials) if nats_url else partial(local_bus, data)
    return work.run(session, bus, os.environ.get("HOLDFAST_MODELS_FILE", ""), as_json=json)
