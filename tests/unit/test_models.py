"""The model that is used when none is named: current, and named in one place."""

import re
from pathlib import Path
from typing import get_args

from anthropic._data import DEPRECATED_MODELS
from anthropic.types.model_param import ModelParam

from holdfast.cli.models import DEFAULT_MODEL

ROOT = Path(__file__).parents[2]
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
        if path.suffix != ".pyc" and path != ROOT / "services" / "cli" / "models.py"
        for name in NAME.findall(path.read_text())
    }
    assert named == set()
