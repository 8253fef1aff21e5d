"""The kinds of credentials: one module each, listed here. A kind is pure: it says what is public, secret and unique.

Adding one is a module with the functions of `Kind`, and a line in KINDS.
"""

from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec

from holdfast.vault.errors import Invalid
from holdfast.vault.kinds import static_bearer


class Split(msgspec.Struct, frozen=True):
    """`auth` taken apart."""

    public: dict[str, Any]
    """Shown to clients."""
    secret: dict[str, str]
    """Stored, and never shown."""
    unique: str
    """At most one active credential of a vault holds this key."""


class Kind(Protocol):
    @property
    def TYPE(self) -> str:  # noqa: N802  a constant of a module
        """The value of `auth.type`."""
        ...

    def create(self, auth: dict[str, Any], *, loopback: bool) -> tuple[dict[str, Any], dict[str, str], str]:
        """Public part, secret part and unique key of a new credential. Raises ValueError: `field: rule`."""
        ...

    def update(self, public: dict[str, Any], auth: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str] | None]:
        """Public part, and the new secret or None. Raises ValueError, also for a change of what is immutable."""
        ...


_ALL: Final[tuple[Kind, ...]] = (static_bearer,)

KINDS: Final = MappingProxyType({kind.TYPE: kind for kind in _ALL})
"""By `auth.type`."""

LATER: Final = ("mcp_oauth", "environment_variable")
"""Part of the API, not of this version."""


def kind_of(auth: dict[str, Any]) -> Kind:
    """The kind of an `auth` object. Raises Invalid."""
    name = auth.get("type")
    if name in LATER:
        raise Invalid(f"auth.type: {name} credentials are not available in this version")
    if not isinstance(name, str) or name not in KINDS:
        raise Invalid(f"auth.type: must be one of {', '.join((*KINDS, *LATER))}")
    return KINDS[name]


def create(auth: dict[str, Any], *, loopback: bool) -> Split:
    """Check and take apart the `auth` of a new credential. Raises Invalid."""
    try:
        return Split(*kind_of(auth).create(auth, loopback=loopback))
    except ValueError as exc:
        raise Invalid(f"auth.{exc}") from None


def update(public: dict[str, Any], auth: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Check a change of `auth`. Raises Invalid."""
    kind = kind_of(auth)
    if public.get("type") != kind.TYPE:
        raise Invalid("auth.type: cannot be changed")
    try:
        return kind.update(public, auth)
    except ValueError as exc:
        raise Invalid(f"auth.{exc}") from None
