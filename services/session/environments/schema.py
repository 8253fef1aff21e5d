"""The shapes of environments, and their configuration from the body of a request. Raises ApiError 400. Pure."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfast.bus.metadata import Metadata, MetadataPatch
from holdfast.session.http.errors import ApiError, invalid, not_available
from holdfast.session.http.timestamps import TimeText

PACKAGE_MANAGERS: Final = ("apt", "cargo", "gem", "go", "npm", "pip")

MAX_ALLOWED_HOSTS: Final = 1000
"""Entries of `allowed_hosts`."""

_LABEL: Final = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Description = Annotated[str, Meta(max_length=2048)]
Scope = Literal["organization", "account"]


class _Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Unrestricted(_Params, frozen=True, kw_only=True, tag_field="type", tag="unrestricted"):
    pass


class Limited(_Params, frozen=True, kw_only=True, tag_field="type", tag="limited"):
    """The network is limited to the named hosts. On update, a field that is left out or null stays unchanged."""

    allowed_hosts: Annotated[list[str], Meta(max_length=MAX_ALLOWED_HOSTS)] | None = None
    allow_mcp_servers: bool | None = None
    allow_package_managers: bool | None = None


class Packages(_Params, frozen=True, kw_only=True):
    type: Literal["packages"] | None = None
    apt: list[str] | None = None
    cargo: list[str] | None = None
    gem: list[str] | None = None
    go: list[str] | None = None
    npm: list[str] | None = None
    pip: list[str] | None = None


class Cloud(_Params, frozen=True, kw_only=True, tag_field="type", tag="cloud"):
    networking: Unrestricted | Limited | None = None
    packages: Packages | None = None


class SelfHosted(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="self_hosted"):
    """Decoded only to be refused by name."""


Config = Cloud | SelfHosted


class EnvironmentCreate(_Params, frozen=True, kw_only=True):
    """Body of `POST /v1/environments`."""

    name: Name
    config: Config | None = None
    description: Description | None = None
    metadata: Metadata | None = None
    scope: Scope | None = None


class EnvironmentUpdate(_Params, frozen=True, kw_only=True):
    """Body of `POST /v1/environments/{environment_id}`: a field that is left out or null stays unchanged.

    Only the description is cleared by null.
    """

    name: Name | None = None
    config: Config | None = None
    description: Description | UnsetType | None = UNSET
    metadata: MetadataPatch | None = None
    scope: Scope | None = None


# --- answers -------------------------------------------------------------------------------------------------------


class UnrestrictedObject(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="unrestricted"):
    pass


class LimitedObject(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="limited"):
    allowed_hosts: list[str]
    allow_mcp_servers: bool
    allow_package_managers: bool


class PackagesObject(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["packages"]
    apt: list[str]
    cargo: list[str]
    gem: list[str]
    go: list[str]
    npm: list[str]
    pip: list[str]


class CloudObject(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of an environment, complete."""

    type: Literal["cloud"]
    networking: UnrestrictedObject | LimitedObject
    packages: PackagesObject


class EnvironmentObject(msgspec.Struct, frozen=True, kw_only=True):
    """An environment."""

    id: str
    type: Literal["environment"]
    name: str
    description: str | None
    config: CloudObject
    metadata: dict[str, str]
    scope: Literal["organization"]
    created_at: TimeText
    updated_at: TimeText
    archived_at: TimeText | None


class DeletedEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: Literal["environment_deleted"]


# --- the configuration ---------------------------------------------------------------------------------------------


def default_config() -> dict[str, Any]:
    """Unrestricted, no packages."""
    return {
        "type": "cloud",
        "networking": {"type": "unrestricted"},
        "packages": {"type": "packages", **{manager: list[str]() for manager in PACKAGE_MANAGERS}},
    }


def resolve_config(params: Config | None, now: dict[str, Any] | None = None) -> dict[str, Any]:
    """The whole configuration: the fields of `params`, else those of `now`, which is None at creation."""
    base = now or default_config()
    match params:
        case None:
            return base
        case SelfHosted():
            raise _wrong_type() if now else not_available("config: self-hosted environments are")
        case Cloud(networking=networking, packages=packages):
            after = base if networking is None else {**base, "networking": _networking(networking, base["networking"])}
            _check_packages(packages, after["networking"])
            return after


def check_scope(scope: Scope | None) -> None:
    """Raise ApiError 400 for the scope `account`: API keys make objects of the organization only."""
    if scope == "account":
        raise not_available("scope: account is")


def _wrong_type() -> ApiError:
    return invalid("config.type: cannot be changed", code="invalid_config_type_change")


def _networking(params: Unrestricted | Limited, now: dict[str, Any]) -> dict[str, Any]:
    if isinstance(params, Unrestricted):
        return {"type": "unrestricted"}
    _check_hosts(params.allowed_hosts or ())
    base = {"allowed_hosts": list[str](), "allow_mcp_servers": False, "allow_package_managers": False} | now
    given = {field: getattr(params, field) for field in params.__struct_fields__}
    return base | {field: value for field, value in given.items() if value is not None} | {"type": "limited"}


def _check_hosts(hosts: Sequence[str]) -> None:
    for index, host in enumerate(hosts):
        if len(host) > 253 or not _HOST.fullmatch(host):
            at = f"config.networking.allowed_hosts[{index}]"
            raise invalid(
                f"{at}: must be a bare host name such as api.example.com or *.example.com, without URL or port"
            )


def _check_packages(packages: Packages | None, networking: dict[str, Any]) -> None:
    if packages is None or not any(getattr(packages, manager) for manager in PACKAGE_MANAGERS):
        return
    if networking["type"] == "limited" and not networking["allow_package_managers"]:
        raise invalid("config.packages: limited networking needs allow_package_managers to install packages")
    raise not_available("config.packages: packages are")
