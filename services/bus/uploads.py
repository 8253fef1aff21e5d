"""Which files a session has in its sandbox: what the session service writes and workers read. Pure.

A session may have 500 files, too many for the head in each commit. So the list is stored like the bytes of a file, as
the content that the head names.
"""

from typing import Final

import msgspec

from holdfast.bus.errors import Damaged
from holdfast.bus.records import decode_record

UPLOADS: Final = "/mnt/session/uploads"
"""The folder in every sandbox below which files are mounted, read-only."""


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """One file: its path below UPLOADS, and its bytes, which are the chunks of a content."""

    path: str
    content: str
    size_bytes: int
    chunk_bytes: int
    sha256: str

    @property
    def chunks(self) -> int:
        """How many chunks there are: none of an empty file."""
        return -(-self.size_bytes // self.chunk_bytes)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All files of a session; no two overlap."""

    v: int = 1
    files: tuple[Upload, ...] = ()


def encode_manifest(manifest: Manifest) -> bytes:
    return msgspec.json.encode(manifest)


def decode_manifest(raw: bytes) -> Manifest:
    """Raises Newer, Damaged; also Damaged for a path that leads out of the folder, whoever wrote it."""
    manifest = decode_record(Manifest, raw)
    for upload in manifest.files:
        if {"", ".", ".."} & set(upload.path.split("/")):
            raise Damaged("a manifest has a path that is not below its folder")
    return manifest
