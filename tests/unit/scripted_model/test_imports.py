"""The scripted model imports nothing else of Holdfast, so that it can stand in for a model anywhere."""

import ast
from pathlib import Path

import holdfast.scripted_model

FOLDER = Path(holdfast.scripted_model.__file__).parent


def test_the_scripted_model_imports_nothing_of_ours() -> None:
    imported = {
        name
        for file in FOLDER.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [f"{node.module}"]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        if name.startswith("holdfast")
    }
    assert imported
    assert {name for name in imported if not name.startswith("holdfast.scripted_model")} == set()
