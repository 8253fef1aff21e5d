"""The agent and the environment of `holdfast run`. Both are reused, so many runs make only one of each."""

import hashlib
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from anthropic import AsyncAnthropic, BadRequestError, ConflictError, NotFoundError

from holdfast.cli.client.errors import CannotDo
from holdfast.cli.client.params_check import problem
from holdfast.cli.embedded.layout import write_private
from holdfast.cli.models import DEFAULT_MODEL
from holdfast.cli.sanitize import clean_line

ENVIRONMENT_NAME: Final = "holdfast-run"
DIGEST_KEY: Final = "holdfast_run"
"""Metadata key of an agent whose value is the digest of its definition."""

SYSTEM_PROMPT: Final = (
    "You are a careful software engineer with a Linux sandbox. Your files are in /workspace. Look before you change, "
    "run what you write, and end with a short summary of what you did."
)


_FIELDS: Final = "It must hold the parameters of agents.create: name, model, system, tools and others"


class BadAgentFile(CannotDo):
    """The file cannot be used; the text says why."""


def default_agent(model: str | None) -> dict[str, Any]:
    """A coding agent with all built-in tools."""
    tools = [{"type": "agent_toolset_20260401"}]
    return {"name": "Holdfast", "model": model or DEFAULT_MODEL, "system": SYSTEM_PROMPT, "tools": tools}


def read_agent(path: Path, model: str | None) -> dict[str, Any]:
    """The parameters of `agents.create` in a YAML or JSON file; `model` replaces the file's. Raises BadAgentFile."""
    shown = clean_line(str(path))
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise BadAgentFile(f"cannot read {shown}: {exc.strerror}") from None
    if not raw.strip():
        raise BadAgentFile(f"{shown} is empty. {_FIELDS}")
    try:
        found: Any = msgspec.json.decode(raw) if path.suffix == ".json" else msgspec.yaml.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        kind = "JSON" if path.suffix == ".json" else "YAML or JSON"
        raise BadAgentFile(f"{shown} is no valid {kind}: {clean_line(' '.join(str(exc).split()))}") from None
    if not isinstance(found, dict):
        what = "a list" if isinstance(found, list) else "a single value"
        raise BadAgentFile(f"{shown} holds {what}. {_FIELDS}")
    params = cast("dict[str, Any]", found)
    params.setdefault("name", path.stem)
    params["model"] = model or params.get("model", DEFAULT_MODEL)
    from anthropic.types.beta.agent_create_params import AgentCreateParams  # noqa: PLC0415  the import takes long

    wrong = problem(params, AgentCreateParams, without=("betas", "workspace_id"))
    if wrong:
        raise BadAgentFile(f"{shown}: {clean_line(wrong)}")
    return params


async def agent(client: AsyncAnthropic, params: dict[str, Any], remembered: Path | None = None) -> str:
    """Id of the agent with exactly these parameters; made if there is none.

    `remembered` is a file with the ids of earlier runs, which saves listing all agents.
    Raises BadAgentFile when the API refuses the parameters.
    """
    digest = hashlib.sha256(msgspec.json.encode(params, order="deterministic")).hexdigest()[:32]
    known = _remembered(remembered)
    if digest in known and await _is_agent(client, known[digest], digest):
        return known[digest]
    found = await _agent(client, params, digest)
    if remembered:
        known[digest] = found
        remembered.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(remembered, msgspec.json.encode(known))
    return found


async def _agent(client: AsyncAnthropic, params: dict[str, Any], digest: str) -> str:
    async for found in client.beta.agents.list(limit=100):
        if found.metadata.get(DIGEST_KEY) == digest:
            return found.id
    metadata: dict[str, str] = params.get("metadata") or {}
    marked: Any = {**params, "metadata": {**metadata, DIGEST_KEY: digest}}
    try:
        return (await client.beta.agents.create(**marked)).id
    except BadRequestError as exc:
        match exc.body:
            case {"error": {"message": str(text)}}:
                raise BadAgentFile(f"the agent is refused: {clean_line(text)}") from None
            case _:
                raise


async def _is_agent(client: AsyncAnthropic, agent_id: str, digest: str) -> bool:
    """Whether that agent is still there, not archived, and the one with these parameters."""
    try:
        found = await client.beta.agents.retrieve(agent_id)
    except NotFoundError:
        return False
    return found.archived_at is None and found.metadata.get(DIGEST_KEY) == digest


def _remembered(path: Path | None) -> dict[str, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path else {}
    except (OSError, msgspec.DecodeError):
        return {}


async def environment(client: AsyncAnthropic) -> str:
    """Id of the environment of this command, made if there is none."""
    found = await _environment(client)
    if found:
        return found
    try:
        return (await client.beta.environments.create(name=ENVIRONMENT_NAME)).id
    except ConflictError:  # another run was faster
        found = await _environment(client)
        if found is None:
            raise
        return found


async def _environment(client: AsyncAnthropic) -> str | None:
    async for found in client.beta.environments.list(limit=100):
        if found.name == ENVIRONMENT_NAME:
            return found.id
    return None
