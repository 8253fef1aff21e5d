"""Bindings: what a task of a kind becomes. Bodies of requests, the configuration that is stored, the answer. Pure.

Raises ApiError 400, and nothing else. That agent and environment exist is checked where they are stored.
"""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfast.bus.ids import is_token
from holdfast.bus.metadata import MAX_PAIRS, Metadata, MetadataPatch
from holdfast.session.agents.schema import AgentRef
from holdfast.session.http.errors import ApiError, invalid, not_available
from holdfast.session.http.timestamps import TimeText, text, text_or_none
from holdfast.session.storage.metadata import patched
from holdfast.session.tasks.conditions import When, check_when
from holdfast.session.tasks.signatures import DEFAULT_TOLERANCE_S, Scheme, SignatureConfig, key_of
from holdfast.session.tasks.templates import MAX_TEMPLATE_CHARS, compile_template

DEFAULT_MAX_OPEN: Final = 100
"""Open tasks of a binding, beyond which they wait."""

DEFAULT_REMEMBER_HOURS: Final = 72
"""Hours for which a finished task is known, so that another publish of it starts nothing."""

MAX_SECRETS: Final = 4
"""Secrets of one binding: the new one and the old one while it is replaced, for two senders."""

BATCH: Final = "batch"
"""The last token of the subject of batch tasks, so no kind."""

OWN_METADATA: Final = ("task_id", "task_kind")
"""Keys of the metadata of every session that a task starts, beside those of the binding."""

_HEADER: Final = re.compile(r"[a-z0-9-]{1,64}")

Kind = Annotated[str, Meta(min_length=1, max_length=128)]
Message = Annotated[str, Meta(min_length=1, max_length=MAX_TEMPLATE_CHARS)]
ShortTemplate = Annotated[str, Meta(max_length=2048)]
MaxOpen = Annotated[int, Meta(ge=1, le=1000)]
RememberHours = Annotated[int, Meta(ge=1, le=720)]
Secret = Annotated[str, Meta(min_length=1, max_length=1024)]


class _Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class SignatureParams(_Params, frozen=True, kw_only=True):
    """How webhooks of the kind are signed. On update, `secrets` may be left out if the scheme stays the same."""

    scheme: Scheme
    header: str | None = None
    secrets: Annotated[list[Secret], Meta(min_length=1, max_length=MAX_SECRETS)] | None = None
    tolerance_seconds: Annotated[int, Meta(ge=1, le=3600)] = DEFAULT_TOLERANCE_S


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
    """The versioned part of a binding. An update that leaves it equal makes no new version. It holds no secret."""

    agent_id: str
    agent_version: int | None
    """None: the newest one when a task starts."""
    environment_id: str
    message: str
    session_key: str | None
    title: str | None
    metadata: dict[str, str]
    when: dict[str, list[str | int | bool | None]]
    max_open: int
    remember_hours: int
    signature: SignatureConfig | None


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
            max_open=config.max_open,
            remember_hours=config.remember_hours,
            signature=config.signature,
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
    max_open: int
    remember_hours: int
    signature: SignatureConfig | None
    created_at: TimeText
    updated_at: TimeText
    archived_at: TimeText | None


# --- the configuration ---------------------------------------------------------------------------------------------


def create_config(params: BindingCreate) -> BindingConfig:
    """The first version of a binding."""
    if not is_token(params.kind) or params.kind == BATCH:
        raise invalid(f"kind: must be of letters, digits, `_` and `-`, and not be `{BATCH}`")
    _check_available(params.vault_ids, params.resources)
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
            max_open=params.max_open,
            remember_hours=params.remember_hours,
            signature=_signature(params.signature, None),
        )
    )


def update_config(now: BindingConfig, params: BindingUpdate) -> BindingConfig:
    """The binding after an update; equal to `now` when nothing changes."""
    _check_available(params.vault_ids, params.resources)
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
            max_open=now.max_open if params.max_open is UNSET else params.max_open,
            remember_hours=now.remember_hours if params.remember_hours is UNSET else params.remember_hours,
            signature=now.signature if params.signature is UNSET else _signature(params.signature, now.signature),
        )
    )


def _agent(given: str | AgentRef) -> AgentRef:
    return AgentRef(id=given) if isinstance(given, str) else given


def _signature(given: SignatureParams | None, now: SignatureConfig | None) -> SignatureConfig | None:
    """Checks the secrets too; they go to the vault and not into the configuration."""
    if given is None:
        return None
    if given.header is not None and (given.scheme != "stripe" or not _HEADER.fullmatch(given.header.lower())):
        raise invalid("signature.header: only the scheme `stripe` has one, of letters, digits and `-`")
    if given.secrets is None and (now is None or now.scheme != given.scheme):
        raise invalid("signature.secrets: must be given with a new scheme")
    for index, secret in enumerate(given.secrets or ()):
        _named(f"signature.secrets[{index}]", key_of, given.scheme, secret)
    header = (given.header or "").lower()
    return SignatureConfig(scheme=given.scheme, header=header, tolerance_seconds=given.tolerance_seconds)


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


def _check_available(vault_ids: Sequence[str] | UnsetType | None, resources: Sequence[Any] | UnsetType | None) -> None:
    if vault_ids is not UNSET and vault_ids:
        raise not_available("vault_ids: vaults in sessions are")
    if resources is not UNSET and resources:
        raise not_available("resources: session resources are")


def _named(field: str, check: Callable[..., object], *args: object) -> None:
    """Call `check`, and name the field of the request in its error."""
    try:
        check(*args)
    except ValueError as exc:
        raise _invalid(field, exc) from None


def _invalid(field: str, exc: ValueError) -> ApiError:
    return invalid(f"{field}: {exc}")
