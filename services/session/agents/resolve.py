"""From the body of a request to the configuration of an agent. Raises ApiError 400, and nothing else. Pure."""

from typing import Any, Final, cast

import msgspec
from msgspec import UNSET

from holdfast.session.agents.schema import (
    AgentConfig,
    AgentCreate,
    AgentUpdate,
    AgentWithOverrides,
    EffortParams,
    ExecutionIdentity,
    Model,
    ModelObject,
    ModelParams,
    SessionAgentObject,
)
from holdfast.session.agents.tools import ToolObject, resolve_tools
from holdfast.session.http.errors import invalid, not_available
from holdfast.session.storage.metadata import patched

DEFAULT_EFFORT: Final = "high"
"""The effort of a model request that names none, as the Messages API documents it."""


def create_config(params: AgentCreate) -> AgentConfig:
    """The first version of an agent."""
    _refuse_unavailable(params)
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
    _refuse_unavailable(params)
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
    """The configuration with the overrides of one session. A cleared model is refused as `agent_model_required`."""
    _refuse_unavailable(params, "agent.")
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
    effort = params.effort.type if isinstance(params.effort, EffortParams) else params.effort
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


def _refuse_unavailable(params: AgentCreate | AgentUpdate | AgentWithOverrides, at: str = "") -> None:
    """Raise ApiError 400 for a field of a part of the API that this version lacks, unless the field is empty."""
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


def session_agent(agent_id: str, version: int, config: AgentConfig) -> SessionAgentObject:
    """The copy of an agent that a session keeps."""
    return SessionAgentObject(
        id=agent_id,
        type="agent",
        version=version,
        name=config.name,
        description=config.description,
        model=cast("ModelObject", config.model),
        system=config.system,
        tools=cast("list[ToolObject]", config.tools),
        mcp_servers=[],
        skills=[],
        multiagent=None,
        execution_identity=ExecutionIdentity(type="service_account"),
    )
