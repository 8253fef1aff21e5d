"""The spec of a hand comes from the head, and a driver refuses the parts that it does not implement."""

from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.bus.head import Head
from holdfast.bus.ids import Key
from holdfast.bus.tools import SANDBOX
from holdfast.sandbox.drivers.hand_spec import (
    NO_EGRESS,
    Egress,
    HandLimits,
    HandSpec,
    UnsupportedHand,
    hand_spec,
    require_plain,
)

KEY = Key("acme", "sesn_a0_1")
PACKAGES: dict[str, list[str]] = {"apt": [], "cargo": [], "gem": [], "go": [], "npm": [], "pip": []}
CLOUD: dict[str, Any] = {
    "type": "cloud",
    "networking": {"type": "unrestricted"},
    "packages": {"type": "packages", **PACKAGES},
}
PLAIN = HandSpec(key=KEY, kind=SANDBOX, generation="sbx_1", environment=CLOUD)


def test_the_environment_is_that_of_the_head_and_gives_no_network() -> None:
    spec = hand_spec(Head(environment=CLOUD), KEY, kind=SANDBOX, generation="sbx_1")
    assert spec == PLAIN
    assert spec.egress == NO_EGRESS
    require_plain(spec, by="toy")


def test_an_environment_without_wishes_is_plain() -> None:
    require_plain(hand_spec(Head(), KEY, kind=SANDBOX, generation="sbx_1"), by="toy")


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        (replace(PLAIN, environment={**CLOUD, "type": "self_hosted"}), "environments of the type 'self_hosted'"),
        (replace(PLAIN, environment={**CLOUD, "packages": {**PACKAGES, "pip": ["numpy"]}}), "packages"),
        (replace(PLAIN, resources=({"type": "file"},)), "resources"),
        (replace(PLAIN, limits=HandLimits(pids=3)), "limits of a single session"),
        (replace(PLAIN, egress=Egress("unrestricted")), "network access"),
        (replace(PLAIN, grant="g"), "credentials"),
    ],
)
def test_a_part_that_a_driver_does_not_implement_is_refused_by_name(spec: HandSpec, what: str) -> None:
    with pytest.raises(UnsupportedHand) as caught:
        require_plain(spec, by="toy")
    assert str(caught.value) == f"the driver toy does not implement {what}"
