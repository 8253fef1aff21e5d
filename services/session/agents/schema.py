"""What an agent is made of: request shapes, and pure functions from them to the resolved form that is stored and shown.

`create_config`, `update_config` and `override` raise Problem 400; nothing else leaves them.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfast.session.agents.tools import Tool, resolve_tools
from holdfast.session.http.errors import invalid, not_available
from holdfast.session.storage.metadata import Metadata, MetadataPatch, patched

DEFAULT_EFFORT: Final = "high"
"""What the Messages API does when it is not told."""

Effort = Literal["low", "medium", "high", "xhigh", "max"]
ModelId = Annotated[str, Meta(min_length=1, max_length=256)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Description = Annotated[str, Meta(max_length=2048)]
System = Annotated[str, Meta(max_length=100_000)]


class _Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class EffortObject(_Params, frozen=True, kw_only=True):
    type: Effort


class ModelParams(_Params, frozen=True, kw_only=True):
    """A model with its options."""

    id: ModelId
    effort: Effort | EffortObject | None = None
    inference_geo: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    speed: Literal["standard", "fast"] | None = None


Model = ModelId | ModelParams


class AgentCreate(_Params, frozen=True, kw_only=True):
    """Body of `POST /v1/agents`."""

    model: Model
    name: Name
    description: Description | None = None
    execution_identity: dict[str, Any] | None = None
    mcp_servers: list[Any] | None = None
    metadata: Metadata | None = None
    multiagent: dict[str, Any] | None = None
    skills: list[Any] | None = None
    system: System | None = None
    tools: list[Tool] | None = None


class AgentUpdate(_Params, frozen=True, kw_only=True):
    """Body of `POST /v1/agents/{agent_id}`: what is left out stays, null or empty clears."""

    model: Model | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    execution_identity: dict[str, Any] | UnsetType | None = UNSET
    mcp_servers: list[Any] | UnsetType | None = UNSET
    metadata: MetadataPatch | UnsetType | None = UNSET
    multiagent: dict[str, Any] | UnsetType | None = UNSET
    skills: list[Any] | UnsetType | None = UNSET
    system: System | UnsetType | None = UNSET
    tools: list[Tool] | UnsetType | None = UNSET
    version: Annotated[int, Meta(ge=1)] | UnsetType = UNSET


class AgentRef(_Params, frozen=True, kw_only=True, tag_field="type", tag="agent"):
    """An agent at a version, or the latest."""

    id: str
    version: Annotated[int, Meta(ge=1)] | None = None


class AgentWithOverrides(_Params, frozen=True, kw_only=True, tag_field="type", tag="agent_with_overrides"):
    """An agent with parts replaced for one session: left out inherits, a value replaces whole, null or empty clears."""

    id: str
    version: Annotated[int, Meta(ge=1)] | None = None
    model: Model | UnsetType | None = UNSET
    system: System | UnsetType | None = UNSET
    tools: list[Tool] | UnsetType | None = UNSET
    mcp_servers: list[Any] | UnsetType | None = UNSET
    skills: list[Any] | UnsetType | None = UNSET


SessionAgent = str | AgentRef | AgentWithOverrides
"""`agent` in the body of `POST /v1/sessions`."""


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The versioned part of an agent, resolved: what a new version is compared by. Shapes are those of the wire."""

    name: str
    description: str | None
    model: dict[str, Any]
    system: str | None
    tools: list[dict[str, Any]]
    metadata: dict[str, str]

    def on_the_wire(self) -> dict[str, Any]:
        """Every field that an agent and its copy in a session share, with what this version does not offer empty."""
        return {
            "name": self.name,
            "description": self.description,
            "model": self.model,
            "system": self.system,
            "tools": self.tools,
            "mcp_servers": [],
            "skills": [],
            "multiagent": None,
            "execution_identity": {"type": "service_account"},
        }


def create_config(params: AgentCreate) -> AgentConfig:
    """The first version of an agent."""
    _refuse_later(params)
    return AgentConfig(
        name=params.name,
        description=params.description or None,
        model=resolve_model(params.model),
        system=_system(params.system),
        tools=resolve_tools(params.tools or ()),
        metadata=dict(params.metadata or {}),
    )


def update_config(now: AgentConfig, params: AgentUpdate) -> AgentConfig:
    """The agent after an update; equal to `now` when nothing changes."""
    _refuse_later(params)
    metadata = params.metadata if isinstance(params.metadata, dict) else {}
    return AgentConfig(
        name=now.name if params.name is UNSET else params.name,
        description=now.description if params.description is UNSET else params.description or None,
        model=now.model if params.model is UNSET else resolve_model(params.model, now.model),
        system=now.system if params.system is UNSET else _system(params.system),
        tools=now.tools if params.tools is UNSET else resolve_tools(params.tools or ()),
        metadata=patched(now.metadata, metadata),
    )


def override(now: AgentConfig, params: AgentWithOverrides) -> AgentConfig:
    """The agent as one session uses it. Clearing the model is refused as `agent_model_required`."""
    _refuse_later(params, "agent.")
    if params.model is None:
        raise invalid("agent.model: agent_model_required: a session needs a model", code="agent_model_required")
    model = now.model
    if params.model is not UNSET:
        # The effort of an overriding model is not applied; it runs at the model's default.
        model = resolve_model(params.model) | {"effort": {"type": DEFAULT_EFFORT}}
    return msgspec.structs.replace(
        now,
        model=model,
        system=now.system if params.system is UNSET else _system(params.system),
        tools=now.tools if params.tools is UNSET else resolve_tools(params.tools or (), "agent.tools"),
    )


def resolve_model(model: Model, now: dict[str, Any] | None = None) -> dict[str, Any]:
    """The object form. Without `effort`: that of `now` if the model stays the same, else the default."""
    params = ModelParams(id=model) if isinstance(model, str) else model
    if params.speed == "fast":
        raise not_available("model.speed: fast is")
    effort = params.effort.type if isinstance(params.effort, EffortObject) else params.effort
    if effort is None:
        effort = now["effort"]["type"] if now and now["id"] == params.id else DEFAULT_EFFORT
    return {
        "id": params.id,
        "effort": {"type": effort},
        "speed": "standard",
        "inference_geo": params.inference_geo,
    }


def _system(system: str | None) -> str | None:
    if system and not system.strip():
        raise invalid("system: must not be blank; send null to have none")
    return system or None


def _refuse_later(params: AgentCreate | AgentUpdate | AgentWithOverrides, at: str = "") -> None:
    """Say of each part of the API that is not there yet that it is not; empty ones are what the agent has anyway."""
    if params.mcp_servers:
        raise not_available(f"{at}mcp_servers: MCP servers are")
    if params.skills:
        raise not_available(f"{at}skills: skills are")
    if isinstance(params, AgentWithOverrides):
        return
    if isinstance(params.multiagent, dict):
        raise not_available(f"{at}multiagent: multi-agent sessions are")
    identity = params.execution_identity
    if isinstance(identity, dict) and identity != {"type": "service_account"}:
        raise not_available(f"{at}execution_identity: identities other than service_account are")
