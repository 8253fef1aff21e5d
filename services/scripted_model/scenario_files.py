"""Reads scenario files, YAML or JSON."""

from pathlib import Path

import msgspec

from holdfast.scripted_model.scenario import BadScenario, Scenario, ScenarioFile


def load(path: Path) -> dict[str, Scenario]:
    """The scenarios of a file, or of all YAML and JSON files of a folder. Raises BadScenario."""
    files = sorted(p for p in path.iterdir() if p.suffix in (".yaml", ".yml", ".json")) if path.is_dir() else [path]
    found: dict[str, Scenario] = {}
    for file in files:
        try:
            raw = file.read_bytes()
            decode = msgspec.json.decode if file.suffix == ".json" else msgspec.yaml.decode
            found |= decode(raw, type=ScenarioFile).scenarios
        except (OSError, msgspec.MsgspecError) as exc:
            raise BadScenario(f"{file}: {exc}") from None
    return found
