"""Bindings: what a task of a kind becomes. Bodies of requests, the configuration that is stored, the answer. Pure.

Raises ApiError 400, and nothing else. That agent and environment exist is checked where they are stored.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfast.bus.ids import is_token
from holdfast.bus.metadata import MAX_PAIRS, Metadata, MetadataPatch
from holdfast.bus.subjects import UNBOUND, UNNAMED
from holdfast.session.agents.schema import AgentRef
from holdfast.session.http.errors import ApiError, invalid, not_available
from holdfast.session.http.timestamps import TimeText, text, text_or_none
from holdfast.session.storage.metadata import patched
from holdfast.session.tasks.conditions import When, check_when
from holdfast.session.tasks.signature_params import SignatureObject, SignatureParams, changed, shown
from holdfast.session.tasks.signatures import SignatureConfig
from holdfast.session.tasks.templates import MAX_TEMPLATE_CHARS, compile_template

DEFAULT_REMEMBER_HOURS: Final = 72
"""Hours for which a finished task is known, so that another publish of it starts nothing."""

DEFAULT_MAX_OPEN: Final = 100
"""Tasks of a binding that are open at once; the others wait in order."""

RESERVED_KINDS: Final = ("batch", UNNAMED, UNBOUND)
"""`batch` is kept for a last token of subjects; the others stand for kinds in subjects of dead tasks."""

OWN_METADATA: Final = ("task_id", "task_kind")
"""Keys of the metadata of every session that a task starts, beside those of the binding."""

_MISSING: Final = {
    "vault_ids": "vaults in sessions",
    "resources": "session resources",
}
"""Fields for parts that this version lacks, with the name of each part."""

Kind = Annotated[str, Meta(min_length=1, max_length=128)]
Message = Annotated[str, Meta(min_length=1, max_length=MAX_TEMPLATE_CHARS)]
ShortTemplate = Annotated[str, Meta(max_length=2048)]
MaxOpen = Annotated[int, Meta(ge=1, le=1_000)]
RememberHours = Annotated[int, Meta(ge=1, le=720)]


class _Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class BindingCreate(_Params, frozen=True, kw_only=True):
    """Body of `POST /v1/bindings`."""

    kind: Kind
    agent: str | AgentRef
    environment_id: str
    message: Message
    max_open: MaxOpen = DEFAULT_MAX_OPEN
    metadata: Metadata | None = None
    remember_hours: RememberHours = DEFAULT_REMEMBER_HOURS
    resources: list[Any] | None = None
    session_key: ShortTemplate | None = None
    signature: SignatureParams | None = None
    title: ShortTemplate | None = None
    vault_ids: list[str] | None = None
    when: When | None = None


class BindingUpdate(_Params, frozen=True, kw_only=True):
    """Body of `POST /v1/bindings/{kind}`: a field that is left out stays unchanged, null or empty clears it."""

    agent: str | AgentRef | UnsetType = UNSET
    environment_id: str | UnsetType = UNSET
    message: Message | UnsetType = UNSET
    max_open: MaxOpen | UnsetType = UNSET
    metadata: MetadataPatch | UnsetType | None = UNSET
    remember_hours: RememberHours | UnsetType = UNSET
    resources: list[Any] | UnsetType | None = UNSET
    session_key: ShortTemplate | UnsetType | None = UNSET
    signature: SignatureParams | UnsetType | None = UNSET
    title: ShortTemplate | UnsetType | None = UNSET
    vault_ids: list[str] | UnsetType | None = UNSET
    version: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    when: When | UnsetType | None = UNSET


class BindingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The versioned part of a binding. An update that leaves it equal makes no new version."""

    agent_id: str
    agent_version: int | None
    """None: the newest one when a task starts."""
    environment_id: str
    message: str
    session_key: str | None
    title: str | None
    metadata: dict[str, str]
    when: dict[str, list[str | int | bool | None]]
    remember_hours: int
    signature: SignatureConfig | None = None
    max_open: int = DEFAULT_MAX_OPEN
    """Tasks that are open at once: from the moment when they are let in until their turn has ended."""


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a binding as it is stored. Times in microseconds; only the newest version has `archived_at`."""

    v: int = 1
    kind: str
    version: int
    config: BindingConfig
    created_at: int
    updated_at: int
    archived_at: int | None = None

    def to_api(self) -> "BindingObject":
        """The object that clients see."""
        config = self.config
        return BindingObject(
            type="task_binding",
            kind=self.kind,
            version=self.version,
            agent=BoundAgent(type="agent", id=config.agent_id, version=config.agent_version),
            environment_id=config.environment_id,
            message=config.message,
            session_key=config.session_key,
            title=config.title,
            metadata=config.metadata,
            when=config.when,
            remember_hours=config.remember_hours,
            max_open=config.max_open,
            signature=shown(config.signature),
            created_at=text(self.created_at),
            updated_at=text(self.updated_at),
            archived_at=text_or_none(self.archived_at),
        )


class BoundAgent(msgspec.Struct, frozen=True, kw_only=True):
    """The agent of a binding; without a version the newest one."""

    type: Literal["agent"]
    id: str
    version: int | None


class BindingObject(msgspec.Struct, frozen=True, kw_only=True):
    """A binding at one version."""

    type: Literal["task_binding"]
    kind: str
    version: int
    agent: BoundAgent
    environment_id: str
    message: str
    session_key: str | None
    title: str | None
    metadata: dict[str, str]
    when: dict[str, list[str | int | bool | None]]
    remember_hours: int
    max_open: int
    signature: SignatureObject | None
    created_at: TimeText
    updated_at: TimeText
    archived_at: TimeText | None


# --- the configuration ---------------------------------------------------------------------------------------------


def create_config(params: BindingCreate) -> BindingConfig:
    """The first version of a binding."""
    if not is_token(params.kind) or params.kind in RESERVED_KINDS:
        raise invalid(f"kind: must be of letters, digits, `_` and `-`, and not be `{'` or `'.join(RESERVED_KINDS)}`")
    _check_available(params)
    agent = _agent(params.agent)
    return _checked(
        BindingConfig(
            agent_id=agent.id,
            agent_version=agent.version,
            environment_id=params.environment_id,
            message=params.message,
            session_key=params.session_key or None,
            title=params.title or None,
            metadata=dict(params.metadata or {}),
            when={path: list(values) for path, values in (params.when or {}).items()},
            remember_hours=params.remember_hours,
            max_open=params.max_open,
            signature=changed(None, params.signature) if params.signature else None,
        )
    )


def update_config(now: BindingConfig, params: BindingUpdate) -> BindingConfig:
    """The binding after an update; equal to `now` when nothing changes."""
    _check_available(params)
    agent = AgentRef(id=now.agent_id, version=now.agent_version) if params.agent is UNSET else _agent(params.agent)
    when = now.when if params.when is UNSET else params.when or {}
    return _checked(
        BindingConfig(
            agent_id=agent.id,
            agent_version=agent.version,
            environment_id=now.environment_id if params.environment_id is UNSET else params.environment_id,
            message=now.message if params.message is UNSET else params.message,
            session_key=now.session_key if params.session_key is UNSET else params.session_key or None,
            title=now.title if params.title is UNSET else params.title or None,
            metadata=patched(now.metadata, params.metadata if isinstance(params.metadata, dict) else {}),
            when={path: list(values) for path, values in when.items()},
            remember_hours=now.remember_hours if params.remember_hours is UNSET else params.remember_hours,
            max_open=now.max_open if params.max_open is UNSET else params.max_open,
            signature=_signature(now.signature, params.signature),
        )
    )


def _signature(before: SignatureConfig | None, given: SignatureParams | UnsetType | None) -> SignatureConfig | None:
    if given is UNSET:
        return before
    return changed(before, given) if given else None


def _agent(given: str | AgentRef) -> AgentRef:
    return AgentRef(id=given) if isinstance(given, str) else given


def _checked(config: BindingConfig) -> BindingConfig:
    for field, template in (("message", config.message), ("session_key", config.session_key), ("title", config.title)):
        if template is not None:
            _named(field, compile_template, template)
    if config.session_key is not None and not compile_template(config.session_key).paths:
        raise invalid("session_key: has no path, so all tasks would share one session; name what tells them apart")
    _named("when", check_when, config.when)
    if len(config.metadata) > MAX_PAIRS - len(OWN_METADATA) or not config.metadata.keys().isdisjoint(OWN_METADATA):
        most = MAX_PAIRS - len(OWN_METADATA)
        raise invalid(f"metadata: at most {most} pairs, as each session also gets {' and '.join(OWN_METADATA)}")
    return config


def _check_available(params: BindingCreate | BindingUpdate) -> None:
    """Raise ApiError 400 for a field that this version does not have."""
    for field, things in _MISSING.items():
        if getattr(params, field) not in (UNSET, None, []):
            raise not_available(f"{field}: {things} are")


def _named(field: str, check: Callable[..., object], *args: object) -> None:
    """Call `check`, and name the field of the request in its error."""
    try:
        check(*args)
    except ValueError as exc:
        raise _invalid(field, exc) from None


def _invalid(field: str, exc: ValueError) -> ApiError:
    return invalid(f"{field}: {exc}")
