"""The kinds of credentials. Pure.

A kind splits the `auth` of a request into a public part, a secret part and a unique key. The list of kinds is
`bus/credentials.py`. The code of each is the module of its name in this folder, with the functions of `Kind`.
"""

from importlib import import_module
from types import MappingProxyType
from typing import Any, Final, Protocol, cast

import msgspec

from holdfast.bus.credentials import AVAILABLE, UNAVAILABLE
from holdfast.vault.errors import Invalid


class Split(msgspec.Struct, frozen=True):
    """The parts of an `auth` object."""

    public: dict[str, Any]
    """The part that the API shows."""
    secret: dict[str, str]
    """The part that is stored and never shown."""
    unique: str
    """Key that at most one active credential of a vault has."""


class Kind(Protocol):
    """What a module of a kind defines."""

    def create(self, auth: dict[str, Any], *, loopback: bool) -> tuple[dict[str, Any], dict[str, str], str]:
        """Public part, secret part and unique key of a new credential. Raises ValueError with `field: rule`."""
        ...

    def update(self, public: dict[str, Any], auth: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str] | None]:
        """Public part, and the new secret or None. Raises ValueError, also for a change of an immutable field."""
        ...


KINDS: Final = MappingProxyType({name: cast("Kind", import_module(f"{__name__}.{name}")) for name in AVAILABLE})
"""By `auth.type`."""


def kind_of(auth: dict[str, Any]) -> Kind:
    """The kind of an `auth` object. Raises Invalid."""
    name = auth.get("type")
    if name in UNAVAILABLE:
        raise Invalid(f"auth.type: {name} credentials are not available in this version")
    if not isinstance(name, str) or name not in KINDS:
        raise Invalid(f"auth.type: must be one of {', '.join((*AVAILABLE, *UNAVAILABLE))}")
    return KINDS[name]


def create(auth: dict[str, Any], *, loopback: bool) -> Split:
    """Check and split the `auth` of a new credential. Raises Invalid."""
    try:
        return Split(*kind_of(auth).create(auth, loopback=loopback))
    except ValueError as exc:
        raise Invalid(f"auth.{exc}") from None


def update(public: dict[str, Any], auth: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Public part and new secret, or None, of a changed `auth`. Raises Invalid."""
    kind = kind_of(auth)
    if public.get("type") != auth["type"]:
        raise Invalid("auth.type: cannot be changed")
    try:
        return kind.update(public, auth)
    except ValueError as exc:
        raise Invalid(f"auth.{exc}") from None
