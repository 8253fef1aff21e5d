"""A model wrapper that makes one span of each request. It is used only if spans are recorded.

Neither the prompt nor the response is on it, and the request to the model carries nothing of the trace.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

from opentelemetry.trace import Span, SpanKind, StatusCode

from holdfast.bus.events import ModelUsage
from holdfast.harness.models.interface import Model, ModelFailure, Piece, Request, Response, UsageUpdate
from holdfast.harness.models.metered_model import CANCELLED, PROVIDERS
from holdfast.process import metrics
from holdfast.process.spans import LongSpan


class TracedModel:
    """Passes requests to `model`, which is of that `kind`, a name in `models/registry.py`."""

    def __init__(self, model: Model, kind: str) -> None:
        self._model = model
        self._provider = PROVIDERS.get(kind, kind)

    async def stream(self, request: Request) -> AsyncGenerator[Piece]:
        """See `Model.stream`."""
        name = str(request.model.get("id", ""))
        attributes: dict[str, Any] = {
            metrics.OPERATION: "chat",
            metrics.PROVIDER: self._provider,
            metrics.MODEL: name,
            "gen_ai.request.max_tokens": request.max_tokens,
            "gen_ai.request.stream": True,
        }
        # Not the current span: the context of an async generator is that of whoever iterates it.
        chat = LongSpan(f"chat {name}", SpanKind.CLIENT, attributes)
        began_at, began, failed = time.perf_counter(), False, CANCELLED
        try:
            async with aclosing(cast("AsyncGenerator[Piece]", self._model.stream(request))) as pieces:
                async for piece in pieces:
                    if not began:
                        began = True
                        chat.span.set_attribute("gen_ai.response.time_to_first_chunk", time.perf_counter() - began_at)
                    if isinstance(piece, Response | UsageUpdate):
                        _set_usage(chat.span, piece.usage)
                    if isinstance(piece, Response):
                        failed = ""
                        chat.span.set_attribute("gen_ai.response.finish_reasons", [piece.stop])
                        chat.end()  # whoever has the response need not read on
                    yield piece
        except ModelFailure as exc:
            failed = exc.kind
            raise
        finally:
            if failed:
                chat.span.set_attribute(metrics.ERROR, failed)
                if failed != CANCELLED:  # as the hosted service: what the application cancelled has no status
                    chat.span.set_status(StatusCode.ERROR, failed)
                chat.end()

    async def close(self) -> None:
        """See `Model.close`."""
        await self._model.close()


def _set_usage(span: Span, usage: ModelUsage) -> None:
    """The Messages API reports cached tokens beside the input, the convention wants them in it."""
    cached = usage.cache_read_input_tokens + usage.cache_creation_input_tokens
    span.set_attributes({
        "gen_ai.usage.input_tokens": usage.input_tokens + cached,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_input_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_creation_input_tokens,
    })  # fmt: skip
