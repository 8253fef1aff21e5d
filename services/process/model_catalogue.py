"""Reads what is known of models: from `models.toml` beside this file, and from a file of the user.

A file, TOML or JSON, has a table `models` (id to fields) and a table `default` for models that are not listed. Fields
that a user's file leaves out keep the value of `models.toml`.
"""

import json
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from holdfast.process.model_facts import ModelCatalogue, ModelFacts
from holdfast.process.settings import BadSettings

PACKAGED: Final = Path(__file__).with_name("models.toml")


def load_catalogue(path: str = "", *, only_given: bool = False) -> ModelCatalogue:
    """The packaged catalogue with the file of the user over it. Raises BadSettings, which names file and place.

    `only_given`: it lists the models that the user's file names and no others.
    """
    if not path:
        return _packaged() if not only_given else ModelCatalogue({}, _packaged().default)
    known, given = _read(PACKAGED), _read(Path(path))
    if unknown := set(given) - {"models", "default"}:
        raise BadSettings(f"{_where(path)}: unknown key {min(unknown)}; there are `models` and `default`")
    catalogue = _catalogue(known, given, path)
    if not only_given:
        return catalogue
    return ModelCatalogue({name: catalogue.facts(name) for name in given.get("models", {})}, catalogue.default)


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
