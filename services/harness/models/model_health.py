"""A model wrapper that reports the outcome of the last request, for the note about the model in `/readyz`."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import cast

from holdfast.harness.models.interface import Model, ModelFailure, Piece, Request, Response


class ObservedModel:
    """Passes requests to `model`; calls `note` with the error of a failed request, and with "" after a successful one.

    Only failures that an operator can act on are reported: an outage, or an error that every session gets, such as a
    wrong key. An error caused by one conversation (rejected, context overflow) is not.
    """

    def __init__(self, model: Model, note: Callable[[str], None]) -> None:
        self._model = model
        self._note = note

    async def stream(self, request: Request) -> AsyncGenerator[Piece]:
        """See `Model.stream`."""
        pieces = cast("AsyncGenerator[Piece]", self._model.stream(request))
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    if isinstance(piece, Response):
                        self._note("")
                    yield piece
        except ModelFailure as exc:
            if exc.outage or not (exc.retryable or exc.rejected or exc.context_overflow):
                self._note(f"the last request failed: {exc}")
            raise

    async def close(self) -> None:
        """See `Model.close`."""
        await self._model.close()
