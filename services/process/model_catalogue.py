"""What is known of models by their id: tokens and prices, from `models.toml` beside this file and a file of the user.

A file, TOML or JSON, has a table `models` (id to fields) and a table `default` for models that are not listed. Fields
that a user's file leaves out keep the value of `models.toml`.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, cast

import msgspec
from msgspec import Meta

from holdfast.process.settings import BadSettings

PACKAGED: Final = Path(__file__).with_name("models.toml")

COMPACT_FRACTION: Final = 0.8
"""Part of the context window up to which a conversation may grow before it is summarised."""

_CLOUD_PREFIX: Final = re.compile(r"^(?:[a-z]+\.)?anthropic\.")
"""Of a Bedrock id, such as `us.anthropic.`."""

_SUFFIXES: Final = (re.compile(r"-v\d+(?::\d+)?$"), re.compile(r"[-@]\d{8}$"))
"""The version of a Bedrock id, then the date of an id (Vertex writes it after an `@`)."""

Dollars = Annotated[float, Meta(ge=0, le=1e6)]
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

    def find(self, model: str) -> ModelFacts | None:
        """The facts of a listed model: its id as it is, without its date, or as Bedrock and Vertex write it."""
        if (facts := self._models.get(model)) is not None:
            return facts
        name = _CLOUD_PREFIX.sub("", model)
        for suffix in _SUFFIXES:
            name = suffix.sub("", name)
        return self._models.get(name)

    def facts(self, model: str) -> ModelFacts:
        """The facts of a model, or the default."""
        return self.find(model) or self.default


def load_catalogue(path: str = "") -> ModelCatalogue:
    """The packaged catalogue with the file of the user over it. Raises BadSettings, which names file and place."""
    if not path:
        return _packaged()
    known, given = _read(PACKAGED), _read(Path(path))
    if unknown := set(given) - {"models", "default"}:
        raise BadSettings(f"{_where(path)}: unknown key {min(unknown)}; there are `models` and `default`")
    return _catalogue(known, given, path)


@cache
def _packaged() -> ModelCatalogue:
    return _catalogue(_read(PACKAGED), {}, str(PACKAGED))


def _catalogue(known: dict[str, Any], given: dict[str, Any], path: str) -> ModelCatalogue:
    default = {**known["default"], **_table(given, "default", path)}
    changed = _table(given, "models", path)
    models: dict[str, Any] = dict(known["models"])
    for model in changed:
        models[model] = {**models.get(model, {}), **_table(changed, model, path, parent="models")}
    facts = {model: _facts(fields, f"models.{model}", path) for model, fields in models.items()}
    return ModelCatalogue(facts, _facts(default, "default", path))


def _facts(fields: dict[str, Any], key: str, path: str) -> ModelFacts:
    try:
        facts = msgspec.convert(fields, ModelFacts)
    except msgspec.ValidationError as exc:
        rule, _, place = str(exc).partition(" - at `$")
        raise BadSettings(f"{_where(path)}: {key}{place.rstrip('`')}: {rule}") from None
    if facts.compact_at and facts.compact_at > facts.context_window:
        raise BadSettings(f"{_where(path)}: {key}.compact_at: must not be above context_window")
    return facts


def _table(parent_table: Mapping[str, Any], key: str, path: str, *, parent: str = "") -> dict[str, Any]:
    found: Any = parent_table.get(key, {})
    if not isinstance(found, dict):
        raise BadSettings(f"{_where(path)}: {f'{parent}.' if parent else ''}{key}: must be a table")
    return cast("dict[str, Any]", found)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        found: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as exc:
        raise BadSettings(f"{_where(path)}: cannot be read: {exc.strerror}") from None
    except ValueError as exc:  # both decoders name line and column
        raise BadSettings(f"{_where(path)}: {exc}") from None
    if not isinstance(found, dict):
        raise BadSettings(f"{_where(path)}: must be a table with `models` and `default`")
    return cast("dict[str, Any]", found)


def _where(path: str | Path) -> str:
    return f"HOLDFAST_MODELS_FILE: {path}"
