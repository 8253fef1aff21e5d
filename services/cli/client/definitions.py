"""The agent and the environment of `holdfast run`. Both are reused, so that a hundred runs leave one of each."""

import hashlib
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from anthropic import AsyncAnthropic, ConflictError

from holdfast.cli.models import DEFAULT_MODEL

ENVIRONMENT: Final = "holdfast-run"
MARK: Final = "holdfast_run"
"""Metadata key under which the digest of an agent's definition is kept."""

SYSTEM: Final = (
    "You are a careful software engineer with a Linux sandbox. Your files are in /workspace. Look before you change, "
    "run what you write, and end with a short summary of what you did."
)


class BadAgentFile(Exception):
    """The file cannot be used; the text says why."""


def default_agent(model: str | None) -> dict[str, Any]:
    """A coding agent with all built-in tools."""
    tools = [{"type": "agent_toolset_20260401"}]
    return {"name": "Holdfast", "model": model or DEFAULT_MODEL, "system": SYSTEM, "tools": tools}


def read_agent(path: Path, model: str | None) -> dict[str, Any]:
    """The parameters of `agents.create` in a YAML or JSON file; `model` replaces the file's. Raises BadAgentFile."""
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise BadAgentFile(f"cannot read {path}: {exc.strerror}") from None
    try:
        found: Any = msgspec.json.decode(raw) if path.suffix == ".json" else msgspec.yaml.decode(raw)
    except msgspec.DecodeError as exc:
        raise BadAgentFile(f"{path} is neither YAML nor JSON: {exc}") from None
    if not isinstance(found, dict):
        raise BadAgentFile(
            f"{path} must hold an object with the parameters of agents.create: name, model, system, tools"
        )
    params = cast("dict[str, Any]", found)
    params.setdefault("name", path.stem)
    params["model"] = model or params.get("model", DEFAULT_MODEL)
    return params


async def agent(client: AsyncAnthropic, params: dict[str, Any]) -> str:
    """Id of the agent with exactly these parameters, made if there is none."""
    digest = hashlib.sha256(msgspec.json.encode(params, order="deterministic")).hexdigest()[:32]
    async for found in client.beta.agents.list(limit=100):
        if found.metadata.get(MARK) == digest:
            return found.id
    marked: Any = {**params, "metadata": {**params.get("metadata", {}), MARK: digest}}
    return (await client.beta.agents.create(**marked)).id


async def environment(client: AsyncAnthropic) -> str:
    """Id of the environment of this command, made if there is none."""
    found = await _environment(client)
    if found:
        return found
    try:
        return (await client.beta.environments.create(name=ENVIRONMENT)).id
    except ConflictError:  # another run was faster
        found = await _environment(client)
        if found is None:
            raise
        return found


async def _environment(client: AsyncAnthropic) -> str | None:
    async for found in client.beta.environments.list(limit=100):
        if found.name == ENVIRONMENT:
            return found.id
    return None
