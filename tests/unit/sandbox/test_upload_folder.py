"""The files of a session on the host: added, changed and removed in place, and after a death (slice 2 of files)."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from holdfast.bus.errors import Damaged, LostBody
from holdfast.bus.uploads import Manifest, Upload, decode_manifest, encode_manifest
from holdfast.sandbox.upload_folder import NoRoom, UploadFolder, read_manifest

CHUNK = 10


class Store:
    """Contents in memory, by id, in chunks of ten bytes. `reads` counts what was read."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.reads = 0

    def add(self, content: str, data: bytes, path: str) -> Upload:
        self.contents[content] = data
        digest = hashlib.sha256(data).hexdigest()
        return Upload(path=path, content=content, size_bytes=len(data), chunk_bytes=CHUNK, sha256=digest)

    async def read(self, content: str, index: int) -> bytes:
        self.reads += 1
        if content not in self.contents:
            raise LostBody(content)
        return self.contents[content][index * CHUNK : (index + 1) * CHUNK]


@pytest.fixture
def store() -> Store:
    return Store()


def folder(tmp_path: Path, store: Store, *, free: int = 1_000_000) -> UploadFolder:
    return UploadFolder(tmp_path / "s", store.read, lambda: free)


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def manifest(*files: Upload) -> Manifest:
    return Manifest(files=files)


async def test_files_are_added_changed_and_removed(tmp_path: Path, store: Store) -> None:
    a, b, c = store.add("1", b"a" * 25, "a"), store.add("2", b"", "d/b"), store.add("3", b"c", "d/e/c")
    uploads = folder(tmp_path, store)
    await uploads.apply("m1", manifest(a, b, c))
    assert tree(tmp_path / "s") == {"a": b"a" * 25, "d/b": b"", "d/e/c": b"c"}
    assert stat.S_IMODE((tmp_path / "s" / "a").stat().st_mode) == 0o444
    reads = store.reads
    changed = store.add("4", b"other", "d/e/c")
    await uploads.apply("m2", manifest(a, changed))
    assert tree(tmp_path / "s") == {"a": b"a" * 25, "d/e/c": b"other"}
    assert store.reads == reads + 1, "what stayed is not read again"
    await uploads.apply("m3", manifest())
    assert list((tmp_path / "s").iterdir()) == []


async def test_the_same_manifest_costs_nothing(tmp_path: Path, store: Store) -> None:
    file = store.add("1", b"x" * 100, "a")
    await folder(tmp_path, store).apply("m1", manifest(file))
    reads = store.reads
    await folder(tmp_path, store).apply("m1", manifest(file))
    assert store.reads == reads == 10


async def test_a_file_takes_the_place_of_a_folder_and_a_folder_that_of_a_file(tmp_path: Path, store: Store) -> None:
    below, above = store.add("1", b"x", "a/b/c"), store.add("2", b"y", "a")
    uploads = folder(tmp_path, store)
    for number, one in enumerate((below, above, below)):
        await uploads.apply(f"m{number}", manifest(one))
        assert tree(tmp_path / "s") == {one.path: store.contents[one.content]}


async def test_what_an_interrupted_change_has_left_is_removed(tmp_path: Path, store: Store) -> None:
    a, b, c = store.add("1", b"a", "a"), store.add("2", b"b", "b"), store.add("3", b"c", "c")
    uploads = folder(tmp_path, store)
    await uploads.apply("m1", manifest(a))
    del store.contents["3"]
    with pytest.raises(LostBody):
        await uploads.apply("m2", manifest(a, b, c))
    assert tree(tmp_path / "s") == {"a": b"a", "b": b"b"}
    await uploads.apply("m3", manifest(a))
    assert tree(tmp_path / "s") == {"a": b"a"}


async def test_a_running_sandbox_never_sees_half_a_file(tmp_path: Path, store: Store) -> None:
    old, new = store.add("1", b"old", "a"), store.add("2", b"n" * 100, "a")
    uploads = folder(tmp_path, store)
    await uploads.apply("m1", manifest(old))
    with (tmp_path / "s" / "a").open("rb") as opened:
        inode = os.fstat(opened.fileno()).st_ino
        await uploads.apply("m2", manifest(new))
        assert opened.read() == b"old"
        assert (tmp_path / "s" / "a").stat().st_ino != inode


async def test_other_bytes_than_were_uploaded_are_not_shown(tmp_path: Path, store: Store) -> None:
    file = store.add("1", b"x" * 20, "a")
    store.contents["1"] = b"y" * 20
    with pytest.raises(Damaged):
        await folder(tmp_path, store).apply("m1", manifest(file))
    assert tree(tmp_path / "s") == {}


async def test_a_disk_without_room_is_told_before_anything_is_read(tmp_path: Path, store: Store) -> None:
    file = store.add("1", b"x" * 20, "a")
    with pytest.raises(NoRoom, match="20 bytes"):
        await folder(tmp_path, store, free=19).apply("m1", manifest(file))
    assert store.reads == 0


async def test_a_folder_is_removed_with_all_that_is_beside_it(tmp_path: Path, store: Store) -> None:
    uploads = folder(tmp_path, store)
    await uploads.apply("m1", manifest(store.add("1", b"x", "a/b")))
    uploads.remove()
    uploads.remove()
    assert list(tmp_path.iterdir()) == []


async def test_a_manifest_is_stored_as_a_content(store: Store) -> None:
    made = manifest(store.add("1", b"x", "a"))
    raw = encode_manifest(made)
    assert decode_manifest(raw) == made
    for path in ("/etc/passwd", "../a", "a/../../b", "a//b", "."):
        with pytest.raises(Damaged):
            decode_manifest(encode_manifest(manifest(store.add("1", b"x", path))))
    store.contents["m"] = raw[:CHUNK]
    with pytest.raises(Damaged):
        await read_manifest(store.read, "m")
