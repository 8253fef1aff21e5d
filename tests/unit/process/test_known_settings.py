"""A HOLDFAST_* variable that nothing reads is refused, and the list of those that something reads is complete."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from holdfast.bus.jetstream.provision import ProvisionSettings
from holdfast.harness.settings import HarnessSettings
from holdfast.process.known_settings import KNOWN, KNOWN_PREFIXES, SERVICES, unknown_setting
from holdfast.process.settings import BadSettings, ProcessSettings, load
from holdfast.sandbox.settings import SandboxSettings
from holdfast.session.settings import SessionSettings
from holdfast.vault.settings import VaultSettings

ROOT = Path(__file__).parents[3]
STRUCTS: tuple[type[ProcessSettings], ...] = (
    SessionSettings, HarnessSettings, SandboxSettings, VaultSettings, ProvisionSettings,
)  # fmt: skip


def variables(kind: type[ProcessSettings]) -> set[str]:
    return {f"HOLDFAST_{field.name.upper()}" for field in msgspec.structs.fields(kind)}


def sources() -> Iterator[Path]:
    for folder in ("services", "tests", "benchmarks", "deploy", ".ci"):
        yield from (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    yield from (ROOT / name for name in ("Makefile", "README.md"))


def test_the_list_has_the_settings_of_every_service_and_no_other() -> None:
    assert set().union(*map(variables, STRUCTS)) == SERVICES


def test_every_settings_struct_is_compared() -> None:
    defined = {
        name
        for path in (ROOT / "services").rglob("*.py")
        for name in re.findall(r"^class (\w+)\(ProcessSettings\b", path.read_text(), re.MULTILINE)
    }
    assert defined == {kind.__name__ for kind in STRUCTS}


def test_every_variable_that_the_tree_names_is_known() -> None:
    examples = {"HOLDFAST_X", "HOLDFAST_LOG_LEVL", "HOLDFAST_MAX_TOKEN", "HOLDFAST_NAT_URL"}  # unknown on purpose
    unknown = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources()
        if path != Path(__file__) and path.suffix not in (".json", ".pyc")
        for name in re.findall(r"\bHOLDFAST_[A-Z0-9_]*[A-Z0-9]\b(?!_)", path.read_text(errors="replace"))
        if name not in KNOWN | examples and not name.startswith(KNOWN_PREFIXES)
    }
    assert unknown == set()


@pytest.mark.parametrize("kind", STRUCTS)
def test_a_service_refuses_a_misspelt_setting_and_names_the_nearest(kind: type[ProcessSettings]) -> None:
    with pytest.raises(BadSettings, match=r"HOLDFAST_MAX_TOKEN: unknown setting; did you mean HOLDFAST_MAX_TOKENS\?"):
        load(kind, {"HOLDFAST_MAX_TOKEN": "secret"})
    with pytest.raises(BadSettings) as refused:
        load(kind, {"HOLDFAST_QQQQ": "secret"})
    assert str(refused.value) == "HOLDFAST_QQQQ: unknown setting; unset it"


@pytest.mark.parametrize("kind", STRUCTS)
def test_a_service_takes_the_settings_of_the_others(kind: type[ProcessSettings]) -> None:
    others = dict.fromkeys(KNOWN - variables(kind), "x")
    load(kind, {**others, "HOLDFAST_FAULT_HARNESS_1": "x:kill", "HOLDFAST_TEST_SANDBOX": "required", "HOME": "/"})


def test_a_variable_of_another_program_is_not_ours() -> None:
    assert unknown_setting(["PATH", "MY_HOLDFAST_X", "HOLDFASTER"]) == ""
