"""The size of a workspace."""

from pathlib import Path

from holdfast.sandbox.drivers.bubblewrap import disk
from holdfast.sandbox.drivers.bubblewrap.disk import Quota, Use


def test_a_workspace_that_begins_over_its_limit_may_still_be_tidied() -> None:
    quota = Quota(100 << 20, 1000, 0)
    full = Use(500 << 20, 5000)
    assert quota.breach(full, 1 << 40)
    assert not quota.with_room(full).breach(full, 1 << 40)
    assert quota.with_room(full).breach(Use(600 << 20, 5000), 1 << 40)
    assert "nearly full" in Quota(1, 1, 10).breach(Use(), 5)


def test_a_workspace_is_measured_without_following_anything(tmp_path: Path) -> None:
    root = tmp_path
    (root / "a").mkdir()
    (root / "a" / "f").write_bytes(b"x" * 100_000)
    (root / "link").symlink_to("/usr")
    (root / "hard").hardlink_to(root / "a" / "f")
    use = disk.measure(root, Quota(1 << 40, 1 << 40, 0))
    assert use.files == 4
    assert 100_000 <= use.size < 130_000
    assert disk.measure(root / "none", Quota(1, 1, 0)) == Use()


def test_a_folder_that_may_not_be_read_hides_nothing(tmp_path: Path) -> None:
    """As root this test cannot fail: root reads every folder."""
    dark = tmp_path / "dark"
    dark.mkdir()
    (dark / "big").write_bytes(b"x" * 1_000_000)
    dark.chmod(0o300)
    assert disk.measure(tmp_path, Quota(1 << 40, 1 << 40, 0)).size > 1_000_000
