"""The kinds of credentials: the only list of them. Pure.

A kind is one line in KINDS, which names the shapes of its `auth` object. The session service checks bodies and writes
its OpenAPI document by them. The vault service has the code of a kind, in the module of its name in `vault/kinds`.
"""

import operator
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

Url = Annotated[str, Meta(min_length=1, max_length=2048)]
Token = Annotated[str, Meta(min_length=1, max_length=8192)]


class Auth(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """The `auth` object of a credential. The tag is the name of its kind."""


class StaticBearerCreate(Auth, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="static_bearer"):
    mcp_server_url: Url
    token: Token


class StaticBearerUpdate(Auth, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="static_bearer"):
    """The address cannot be changed; it may be repeated."""

    mcp_server_url: Url | UnsetType = UNSET
    token: Token | UnsetType | None = UNSET


class StaticBearerObject(Auth, frozen=True, kw_only=True, tag="static_bearer"):
    """The public part of a bearer token."""

    mcp_server_url: str


class McpOauth(Auth, frozen=True, kw_only=True, tag="mcp_oauth"):
    """Decoded only to be refused by name."""


class EnvironmentVariable(Auth, frozen=True, kw_only=True, tag="environment_variable"):
    """Decoded only to be refused by name."""


class CredentialKind(msgspec.Struct, frozen=True, kw_only=True):
    """The shapes of `auth` of one kind."""

    create: type[Auth]
    update: type[Auth]
    shown: type[Auth] | None = None
    """In answers, without the secrets. None: this version does not have the kind, and a request for it is refused."""

    @property
    def name(self) -> str:
        """The value of `auth.type`."""
        return name_of(self.create)


def name_of(auth: Auth | type[Auth]) -> str:
    """The name of the kind of an `auth` object, or of a shape of it."""
    return str(auth.__struct_config__.tag)


KINDS: Final[tuple[CredentialKind, ...]] = (
    CredentialKind(create=StaticBearerCreate, update=StaticBearerUpdate, shown=StaticBearerObject),
    CredentialKind(create=McpOauth, update=McpOauth),
    CredentialKind(create=EnvironmentVariable, update=EnvironmentVariable),
)
"""One line per kind."""

AVAILABLE: Final = tuple(kind.name for kind in KINDS if kind.shown)
"""Names of the kinds that can be stored."""

UNAVAILABLE: Final = tuple(kind.name for kind in KINDS if not kind.shown)
"""Names of the kinds of the API that this version does not have."""

# What a checker may know is that a body has some `auth`; msgspec decodes by the shapes of all kinds.
if TYPE_CHECKING:
    AuthCreate = AuthUpdate = AuthShown = Auth
else:
    AuthCreate = reduce(operator.or_, (kind.create for kind in KINDS))
    AuthUpdate = reduce(operator.or_, (kind.update for kind in KINDS))
    AuthShown = reduce(operator.or_, (kind.shown for kind in KINDS if kind.shown))
