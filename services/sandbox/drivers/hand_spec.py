"""The one argument from which a driver makes a hand. The worker fills it from the head of the session. Pure.

A field that a driver does not implement is refused with UnsupportedHand. It is never ignored: the agent would work
under limits, or with a network, that nobody asked for.
"""

from typing import Any, Literal

import msgspec

from holdfast.bus.head import Head
from holdfast.bus.ids import Key


class UnsupportedHand(Exception):
    """The driver does not implement a field of the spec. The text is a sentence with the cause."""


class Egress(msgspec.Struct, frozen=True):
    """The network that a hand may reach. `hosts` are host names or `*.` and a domain, with `limited` only."""

    networking: Literal["none", "limited", "unrestricted"] = "none"
    hosts: tuple[str, ...] = ()


class HandLimits(msgspec.Struct, frozen=True):
    """Limits of one hand below those of the driver's settings. 0: the setting alone."""

    memory_bytes: int = 0
    pids: int = 0
    cpus: float = 0.0
    disk_bytes: int = 0


NO_EGRESS = Egress()
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


def hand_spec(head: Head, key: Key, *, kind: str, generation: str) -> HandSpec:
    """The spec of that hand of the session whose head is `head`.

    The egress is none whatever the environment asks for: no proxy gives a sandbox a network yet, and the agent is told
    so. Environments ask for one nevertheless, because programs written for the hosted service do.
    """
    return HandSpec(key=key, kind=kind, generation=generation, environment=head.environment)


def require_plain(spec: HandSpec, *, by: str) -> None:
    """Raise UnsupportedHand if the spec has a field that the driver `by`, which implements none, would ignore."""
    packages: dict[str, Any] = spec.environment.get("packages") or {}
    wanted = {
        f"environments of the type {spec.environment.get('type')!r}": spec.environment.get("type", "cloud") != "cloud",
        "packages": any(packages[manager] for manager in packages if manager != "type"),
        "resources": bool(spec.resources),
        "limits of a single session": spec.limits != NO_LIMITS,
        "network access": spec.egress != NO_EGRESS,
        "credentials": bool(spec.grant),
    }
    if missing := [what for what, is_wanted in wanted.items() if is_wanted]:
        raise UnsupportedHand(f"the driver {by} does not implement {', '.join(missing)}")
