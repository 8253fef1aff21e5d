from pathlib import Path

import pytest

from holdfast.cli.client.target import NoStack, find


def test_a_stack_is_found_by_its_folder_or_its_address(tmp_path: Path) -> None:
    with pytest.raises(NoStack, match="holdfast up"):
        find(tmp_path, {})
    with pytest.raises(NoStack, match="HOLDFAST_API_KEY"):
        find(None, {"HOLDFAST_BASE_URL": "http://x"})
    found = find(None, {"HOLDFAST_BASE_URL": "http://x", "HOLDFAST_API_KEY": "k"})
    assert (found.base_url, found.api_key, found.local) == ("http://x", "k", None)
    with pytest.raises(NoStack, match=str(tmp_path)):
        find(None, {"HOLDFAST_DATA": str(tmp_path)})
