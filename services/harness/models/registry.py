"""The kinds of model endpoint that `HOLDFAST_MODEL` can name. A new kind is one module and one line in `MODELS`."""

from collections.abc import Callable

from holdfast.harness.models.interface import Endpoint, Model


def _anthropic(endpoint: Endpoint) -> Model:
    from holdfast.harness.models.anthropic import AnthropicModel  # noqa: PLC0415  the SDK is loaded only when chosen

    return AnthropicModel(endpoint)


MODELS: dict[str, Callable[[Endpoint], Model]] = {"anthropic": _anthropic}
"""Name of the kind to its constructor."""
