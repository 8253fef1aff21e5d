"""Every path in the configuration of OpenBao is quoted correctly."""

import json
from pathlib import Path

import pytest

from holdfast.cli.embedded.bao_config import quoted
from tests.support.bao import BaoServer


@pytest.mark.parametrize("path", ["/data", '/a "quoted" one', "/back\\slash", "/${HOME}", "/open ${", "/é"])
def test_a_path_becomes_a_string_without_a_template(path: str) -> None:
    assert "${" not in quoted(path)
    assert json.loads(quoted(path)) == path


async def test_openbao_starts_in_a_folder_whose_name_looks_like_a_template(tmp_path: Path) -> None:
    bao = BaoServer(tmp_path / "open ${")
    try:
        await bao.start()
    finally:
        bao.kill()
    assert (bao.layout.bao / "raft" / "vault.db").exists()
    assert bao.audit_log.exists()
