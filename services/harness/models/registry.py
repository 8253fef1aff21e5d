"""The kinds of model endpoint that `HOLDFAST_MODEL` can name. A new kind is one module and one line in `MODELS`.

A kind is imported when it is chosen: the `anthropic` package costs more time and memory than the rest of a harness.
"""

from collections.abc import Callable
from typing import Final

from holdfast.harness.models.interface import Endpoint, Model


def _anthropic(endpoint: Endpoint) -> Model:
    from holdfast.harness.models.anthropic import AnthropicModel  # noqa: PLC0415

    return AnthropicModel(endpoint)


def _messages(endpoint: Endpoint) -> Model:
    from holdfast.harness.models.messages import MessagesModel  # noqa: PLC0415

    return MessagesModel(endpoint)


def _bedrock(endpoint: Endpoint) -> Model:
    from holdfast.harness.models.anthropic_clouds import BedrockModel  # noqa: PLC0415

    return BedrockModel(endpoint)


def _vertex(endpoint: Endpoint) -> Model:
    from holdfast.harness.models.anthropic_clouds import VertexModel  # noqa: PLC0415

    return VertexModel(endpoint)


def _foundry(endpoint: Endpoint) -> Model:
    from holdfast.harness.models.anthropic_clouds import FoundryModel  # noqa: PLC0415

    return FoundryModel(endpoint)


MODELS: Final[dict[str, Callable[[Endpoint], Model]]] = {
    "anthropic": _anthropic,
    "messages": _messages,
    "bedrock": _bedrock,
    "vertex": _vertex,
    "foundry": _foundry,
}
"""Name of the kind to its constructor, which is called on the event loop and may raise BadSettings."""

CLOUDS: Final = ("bedrock", "vertex", "foundry")
"""Kinds whose client derives the address and finds the credentials by itself."""
