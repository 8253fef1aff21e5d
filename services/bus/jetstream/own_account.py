"""Whether a harness or a worker is in a NATS account of its own, as `deploy/nats/permissions.conf` has it.

With the file of an earlier version everything works, but the answers of JetStream to this process may reach every
stream (SECURITY.md). That is said at the start; whoever runs the server decides when to change it.
"""

from typing import Any, Final

import msgspec
import structlog

from holdfast.bus.errors import BusError
from holdfast.bus.jetstream.accounts import HOLDFAST, STATE_OF_ACCOUNT
from holdfast.bus.jetstream.requests import JetStreamClient

log = structlog.get_logger()

WAY_OUT: Final = (
    "the permissions of nats-server are those of an earlier version: everything works, but a harness or a worker that "
    "was taken over could write to every stream. Once all services are of this version, write the file anew with "
    "`python -m holdfast.bus.jetstream.permissions CELLS`, and reload nats-server twice"
)


def account_of(answer: bytes) -> str:
    """The account in an answer on STATE_OF_ACCOUNT; empty if it names none."""
    data: Any = msgspec.json.decode(answer).get("data") or {}
    states: list[dict[str, Any]] = data.get("account_statz") or []
    return states[0].get("acc", "") if states else ""


async def warn_if_shared(client: JetStreamClient) -> bool:
    """Log a warning with the way out, unless the user is in an account without streams; returns whether it is."""
    try:
        account = account_of((await client.ask(STATE_OF_ACCOUNT)).data)
    except BusError:
        account = ""
    if account in {"", HOLDFAST}:
        log.warning("nats.permissions_are_old", way_out=WAY_OUT)
    return account not in {"", HOLDFAST}
