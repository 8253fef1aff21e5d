"""A harness and a worker say at their start if the permissions of nats-server are those of an earlier version."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from holdfast.bus.ids import FIRST_CELL
from holdfast.bus.jetstream.accounts import Account, User, password_variable, render
from holdfast.bus.jetstream.own_account import WAY_OUT, warn_if_shared
from holdfast.bus.jetstream.permissions import accounts
from tests.support.nats_users import open_link, with_passwords
from tests.support.servers import NatsServer


def in_one_account() -> str:
    """All users in the account of the streams; the sandbox user may not ask for the state of its account either."""
    users: list[User] = [user for account in accounts([FIRST_CELL]) for user in account.users]
    earlier = [replace(user, publish=["res.a0.>"]) if user.name == "sandbox" else user for user in users]
    passwords = "\n".join(f'{password_variable(user.name)} = "{user.name}-password"' for user in earlier)
    return f"{passwords}\n{render([Account('HOLDFAST', 'All.', earlier)])}"


@pytest.fixture(scope="module", params=["own", "shared"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[NatsServer, bool]]:
    own = request.param == "own"
    config = with_passwords([FIRST_CELL]) if own else in_one_account()
    made = NatsServer(tmp_path_factory.mktemp(request.param), config=config)
    made.start_now()
    yield made, own
    made.kill()


@pytest.mark.parametrize("user", ["harness", "sandbox"])
async def test_a_shared_account_is_told_with_the_way_out(server: tuple[NatsServer, bool], user: str) -> None:
    nats, own = server
    link = await open_link(nats, user)
    try:
        with capture_logs() as logged:
            assert await warn_if_shared(link) is own
    finally:
        await link.close()
    warnings = [entry["way_out"] for entry in logged if entry["event"] == "nats.permissions_are_old"]
    assert warnings == ([] if own else [WAY_OUT])
