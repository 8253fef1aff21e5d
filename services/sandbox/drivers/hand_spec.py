"""The one argument from which a driver makes a hand. The worker fills it from the head of the session. Pure.

A field that a driver does not implement is refused with UnsupportedHand. It is never ignored: the agent would work
under limits, or with a network, that nobody asked for.
"""

from typing import Any

import msgspec

from holdfast.bus.head import Head
from holdfast.bus.ids import Key
from holdfast.sandbox.egress import NO_EGRESS, Egress, egress_of


class UnsupportedHand(Exception):
    """The driver does not implement a field of the spec. The text is a sentence with the cause."""


class HandLimits(msgspec.Struct, frozen=True):
    """Limits of one hand below those of the driver's settings. 0: the setting alone."""

    memory_bytes: int = 0
    pids: int = 0
    cpus: float = 0.0
    disk_bytes: int = 0


NO_LIMITS = HandLimits()


class HandSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A hand to be made: the generation `generation` of the hand `kind` of the session `key`."""

    key: Key
    kind: str
    generation: str
    environment: dict[str, Any] = {}
    """Config of the session's environment, as on the wire: what it asks for. `egress` is what it gets."""
    resources: tuple[dict[str, Any], ...] = ()
    """Files and repositories to put into the hand, as on the wire."""
    limits: HandLimits = NO_LIMITS
    egress: Egress = NO_EGRESS
    grant: str = ""
    """The signed right of the session to use credentials; empty: none."""


def hand_spec(head: Head, key: Key, *, kind: str, generation: str, egress: bool = False) -> HandSpec:
    """The spec of that hand of the session whose head is `head`.

    Not `egress`: no network, whatever the environment asks for, because the operator has not switched it on.
    """
    reach = egress_of(head.environment) if egress else NO_EGRESS
    return HandSpec(key=key, kind=kind, generation=generation, environment=head.environment, egress=reach)


def require_plain(spec: HandSpec, *, by: str, egress: bool = False) -> None:
    """Raise UnsupportedHand if the spec has a field that the driver `by` would ignore.

    It implements none of them, or `egress` alone.
    """
    packages: dict[str, Any] = spec.environment.get("packages") or {}
    wanted = {
        f"environments of the type {spec.environment.get('type')!r}": spec.environment.get("type", "cloud") != "cloud",
        "packages": any(packages[manager] for manager in packages if manager != "type"),
        "resources": bool(spec.resources),
        "limits of a single session": spec.limits != NO_LIMITS,
        "network access": not egress and spec.egress != NO_EGRESS,
        "credentials": bool(spec.grant),
    }
    if missing := [what for what, is_wanted in wanted.items() if is_wanted]:
        raise UnsupportedHand(f"the driver {by} does not implement {', '.join(missing)}")
