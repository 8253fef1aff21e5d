"""The model that is used when none is named: current, and named in one place."""

import re
import tomllib
from pathlib import Path
from typing import get_args

from anthropic._data import DEPRECATED_MODELS
from anthropic.types.model_param import ModelParam

from holdfast.cli.models import DEFAULT_MODEL
from holdfast.process.model_catalogue import load_catalogue

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "services" / "cli" / "models.py"
CATALOGUE = ROOT / "services" / "process" / "models.toml"
NAME = re.compile(r"\bclaude-[a-z]+-\d[\w.-]*")


def test_the_default_model_is_current() -> None:
    literals, _anything = get_args(ModelParam)
    assert DEFAULT_MODEL in get_args(literals)
    assert DEFAULT_MODEL not in DEPRECATED_MODELS


def test_no_other_file_of_the_product_names_a_model() -> None:
    files = [path for folder in ("services", "deploy") for path in (ROOT / folder).rglob("*") if path.is_file()]
    named = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in files
        if path.suffix != ".pyc" and path not in (DEFAULT, CATALOGUE)
        for name in NAME.findall(path.read_text())
    }
    assert named == set()


def test_the_default_model_is_in_the_catalogue_and_all_of_its_models_exist() -> None:
    literals, _anything = get_args(ModelParam)
    listed = set(tomllib.loads(CATALOGUE.read_text())["models"])
    assert DEFAULT_MODEL in listed
    assert listed - set(get_args(literals)) - set(DEPRECATED_MODELS) == {"claude-opus-4-1"}  # in clouds only
    assert all(load_catalogue().find(name) for name in listed)
