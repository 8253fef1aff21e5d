"""The kinds of credentials. Pure.

A kind splits the `auth` of a request into a public part, a secret part and a unique key. A new kind is one module with
the functions of `Kind`, and one line in `_ALL`.
"""

from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec

from holdfast.vault.errors import Invalid
from holdfast.vault.kinds import static_bearer


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

    @property
    def TYPE(self) -> str:  # noqa: N802  a constant of a module
        """The value of `auth.type`."""
        ...

    def create(self, auth: dict[str, Any], *, loopback: bool) -> tuple[dict[str, Any], dict[str, str], str]:
        """Public part, secret part and unique key of a new credential. Raises ValueError with `field: rule`."""
        ...

    def update(self, public: dict[str, Any], auth: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str] | None]:
        """Public part, and the new secret or None. Raises ValueError, also for a change of an immutable field."""
        ...


_ALL: Final[tuple[Kind, ...]] = (static_bearer,)

KINDS: Final = MappingProxyType({kind.TYPE: kind for kind in _ALL})
"""By `auth.type`."""

UNAVAILABLE_KINDS: Final = ("mcp_oauth", "environment_variable")
"""Kinds of the API that this version does not have."""


def kind_of(auth: dict[str, Any]) -> Kind:
    """The kind of an `auth` object. Raises Invalid."""
    name = auth.get("type")
    if name in UNAVAILABLE_KINDS:
        raise Invalid(f"auth.type: {name} credentials are not available in this version")
    if not isinstance(name, str) or name not in KINDS:
        raise Invalid(f"auth.type: must be one of {', '.join((*KINDS, *UNAVAILABLE_KINDS))}")
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
    if public.get("type") != kind.TYPE:
        raise Invalid("auth.type: cannot be changed")
    try:
        return kind.update(public, auth)
    except ValueError as exc:
        raise Invalid(f"auth.{exc}") from None
