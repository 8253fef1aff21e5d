"""What is known of a model: tokens and prices, and how its id is found in a catalogue. Pure."""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

COMPACT_FRACTION: Final = 0.8
"""Part of the context window up to which a conversation may grow before it is summarised."""

_CLOUD_PREFIX: Final = re.compile(r"^(?:[a-z]+\.)?anthropic\.")
"""Of a Bedrock id, such as `us.anthropic.`."""

_SUFFIXES: Final = (re.compile(r"-v\d+(?::\d+)?$"), re.compile(r"[-@]\d{8}$"))
"""The version of a Bedrock id, then the date of an id (Vertex writes it after an `@`)."""

Dollars = Annotated[float, Meta(ge=0, le=1e6)]
Lifecycle = Literal["active", "deprecated", "retired"]
Tokens = Annotated[int, Meta(ge=1, le=1_000_000_000)]


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars per million tokens."""

    input: Dollars
    output: Dollars
    cache_read: Dollars
    cache_write_5m: Dollars
    """Of the five-minute cache, which the harness uses."""
    cache_write_1h: Dollars | None = None
    """Of the one-hour cache; None: unknown."""

    def of(self, *, input: int, output: int, cache_read: int, cache_write: int) -> float:  # noqa: A002  the field
        """US dollars for these tokens; cached tokens are not part of `input`, as in the Messages API."""
        parts = (
            input * self.input,
            output * self.output,
            cache_read * self.cache_read,
            cache_write * self.cache_write_5m,
        )
        return sum(parts) / 1e6


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of one model."""

    context_window: Annotated[int, Meta(ge=1000, le=1_000_000_000)]
    """Tokens that a request and its response may have together."""
    max_output: Tokens | None = None
    """Most tokens of a response; None: a fifth of the context window, which is what compaction leaves free."""
    compact_at: Tokens | None = None
    """Tokens of a request above which the history is summarised first; None: COMPACT_FRACTION of the window."""
    price: Price | None = None
    """None: unknown."""
    display_name: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    """Name for people; None: the id."""
    line: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    """Family of models, such as `opus`."""
    lifecycle: Lifecycle = "active"
    """Lists of models leave retired ones out."""
    released: dt.date | None = None
    """Day of the release; None: unknown."""

    @property
    def largest_output(self) -> int:
        return self.max_output or max(self.context_window // 5, 1)

    def compact_above(self, response_tokens: int) -> int:
        """Tokens of a request above which the history is summarised first, if a response may have `response_tokens`.

        At most what leaves room for the response, but never less than half the window.
        """
        if self.compact_at:
            return self.compact_at
        room = max(self.context_window - response_tokens, self.context_window // 2)
        return min(int(self.context_window * COMPACT_FRACTION), room)


class ModelCatalogue:
    """Facts by model id."""

    def __init__(self, models: Mapping[str, ModelFacts], default: ModelFacts) -> None:
        self._models = models
        self.default = default
        """Of a model that is not listed."""

    @property
    def listed(self) -> list[tuple[str, ModelFacts]]:
        """Each listed model with its facts, in the order of the files."""
        return list(self._models.items())

    def name(self, model: str) -> str | None:
        """The id under which a model is listed: as it is, without its date, or as Bedrock and Vertex write it."""
        if model in self._models:
            return model
        name = _CLOUD_PREFIX.sub("", model)
        for suffix in _SUFFIXES:
            name = suffix.sub("", name)
        return name if name in self._models else None

    def find(self, model: str) -> ModelFacts | None:
        """The facts of a listed model, under any name that `name` knows."""
        name = self.name(model)
        return None if name is None else self._models[name]

    def facts(self, model: str) -> ModelFacts:
        """The facts of a model, or the default."""
        return self.find(model) or self.default
