"""A model whose last outcome is told to operators: `/readyz` of the harness notes that it cannot be reached."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import cast

from holdfast.harness.models import Model, ModelFailure, Piece, Request, Response


class ObservedModel:
    """`model` itself; `note` gets why the last request failed, and an empty text when one was answered.

    Only what an operator can act on counts: an outage, or a refusal that every conversation meets (a wrong key).
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
            if exc.outage or not (exc.retryable or exc.refused or exc.too_long):
                self._note(f"the last request failed: {exc}")
            raise

    async def close(self) -> None:
        """See `Model.close`."""
        await self._model.close()
