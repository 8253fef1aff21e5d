"""The network that an environment asks for, and which of it a worker grants."""

from typing import Any

import pytest

from holdfast.bus.head import Head
from holdfast.bus.ids import Key
from holdfast.sandbox.drivers.hand_spec import UnsupportedHand, hand_spec, require_plain
from holdfast.sandbox.egress import NO_EGRESS, PACKAGE_HOSTS, Egress, egress_of
from holdfast.sandbox.settings import SandboxSettings

KEY = Key("acme", "sesn_a0_1")


@pytest.mark.parametrize(
    ("networking", "expected"),
    [
        (None, NO_EGRESS),
        ({"type": "of a later version"}, NO_EGRESS),
        ({"type": "unrestricted"}, Egress("unrestricted")),
        ({"type": "limited"}, Egress("limited")),
        ({"type": "limited", "allowed_hosts": [], "allow_mcp_servers": True}, Egress("limited")),
        ({"type": "limited", "allowed_hosts": ["a.example"]}, Egress("limited", ("a.example",))),
        (
            {"type": "limited", "allowed_hosts": ["a.example"], "allow_package_managers": True},
            Egress("limited", ("a.example", *PACKAGE_HOSTS)),
        ),
    ],
)
def test_egress_is_what_the_environment_asks_for(networking: Any, expected: Egress) -> None:
    environment = {"type": "cloud"} if networking is None else {"type": "cloud", "networking": networking}
    assert egress_of(environment) == expected


def test_no_network_unless_the_operator_has_switched_it_on() -> None:
    head = Head(environment={"type": "cloud", "networking": {"type": "unrestricted"}})
    assert hand_spec(head, KEY, kind="sandbox", generation="sbx_1").egress == NO_EGRESS
    spec = hand_spec(head, KEY, kind="sandbox", generation="sbx_1", egress=True)
    assert spec.egress == Egress("unrestricted")
    require_plain(spec, by="toy", egress=True)
    with pytest.raises(UnsupportedHand, match="network access"):
        require_plain(spec, by="toy")


def test_hosts_of_the_operator() -> None:
    assert SandboxSettings(egress_hosts="Inner.corp,10.0.0.1").exempt_hosts == {"inner.corp", "10.0.0.1"}
    assert SandboxSettings().exempt_hosts == frozenset()
