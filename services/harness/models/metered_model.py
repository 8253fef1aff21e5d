"""A model wrapper that records what requests take and cost. It is used only if somebody reads the metrics."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, cast

from holdfast.bus.events import ModelUsage
from holdfast.harness.models.interface import Model, ModelFailure, Piece, Request, Response, UsageUpdate
from holdfast.process import metering, metrics
from holdfast.process.metrics import Labels
from holdfast.process.model_facts import ModelCatalogue, ModelFacts

PROVIDERS: Final = {
    "anthropic": "anthropic",
    "messages": "anthropic",
    "bedrock": "aws.bedrock",
    "vertex": "gcp.vertex_ai",
    "foundry": "azure.ai.inference",
}
"""`gen_ai.provider.name` by the kind of endpoint (HOLDFAST_MODEL)."""

CANCELLED: Final = "cancelled"
"""`error.type` of a request that was ended before its response: by an interrupt, a lost claim, or a stop."""


class MeteredModel:
    """Passes requests to `model`, which is of that `kind`. Prices are those of the `catalogue`."""

    def __init__(self, model: Model, catalogue: ModelCatalogue, kind: str) -> None:
        self._model = model
        self._catalogue = catalogue
        self._provider = PROVIDERS.get(kind, kind)

    async def stream(self, request: Request) -> AsyncGenerator[Piece]:
        """See `Model.stream`."""
        name, facts = self._known(str(request.model.get("id", "")))
        labels = {metrics.OPERATION: "chat", metrics.PROVIDER: self._provider, metrics.MODEL: name}
        began_at, ended_at, began, failed = time.perf_counter(), 0.0, False, CANCELLED
        usage: ModelUsage | None = None
        try:
            async with aclosing(cast("AsyncGenerator[Piece]", self._model.stream(request))) as pieces:
                async for piece in pieces:
                    if not began:
                        began = True
                        metering.record(metrics.FIRST_CHUNK, time.perf_counter() - began_at, labels)
                    if isinstance(piece, Response | UsageUpdate):
                        usage = piece.usage
                    if isinstance(piece, Response):
                        failed, ended_at = "", time.perf_counter()  # whoever has the response need not read on
                    yield piece
        except ModelFailure as exc:
            failed = exc.kind
            raise
        finally:
            ended = {**labels, metrics.ERROR: failed} if failed else labels
            metering.record(metrics.MODEL_DURATION, (ended_at or time.perf_counter()) - began_at, ended)
            if usage is not None:  # a request that failed or was cancelled is billed too
                _record_usage(usage, labels, facts)

    def _known(self, model: str) -> tuple[str, ModelFacts | None]:
        """The model as a label, and what is known of it. Agents may name any model: others are one label."""
        name = self._catalogue.name(model) or ""
        return name or metrics.OTHER, self._catalogue.find(name)

    async def close(self) -> None:
        """See `Model.close`."""
        await self._model.close()


def _record_usage(usage: ModelUsage, labels: Labels, facts: ModelFacts | None) -> None:
    tokens = {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cache_read": usage.cache_read_input_tokens,
        "cache_write": usage.cache_creation_input_tokens,
    }
    of_model = {metrics.MODEL: labels[metrics.MODEL]}
    for token_type in ("cache_read", "cache_write"):
        if tokens[token_type]:
            metering.add(metrics.CACHED_TOKENS, tokens[token_type], {**of_model, metrics.TOKEN_TYPE: token_type})
    # The Messages API reports cached tokens beside the input, the convention wants them in it.
    read = tokens["input"] + tokens["cache_read"] + tokens["cache_write"]
    metering.record(metrics.TOKEN_USAGE, read, {**labels, metrics.TOKEN_TYPE: "input"})
    metering.record(metrics.TOKEN_USAGE, tokens["output"], {**labels, metrics.TOKEN_TYPE: "output"})
    if facts is not None and facts.price is not None:
        metering.add(metrics.MODEL_COST, facts.price.of(**tokens), of_model)
