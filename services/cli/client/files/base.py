"""The base of a session: a manifest and the contents of the files that were copied into its workspace.

Bases lie in `<data>/cli/bases/<session>/`, where the sandbox cannot reach them. The difference between the base and the
workspace is what the agent changed; the difference between the base and the user's folder is what the user changed.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Final

import msgspec

from holdfast.cli.client.files.trees import Entry
from holdfast.cli.embedded.layout import write_private
from holdfast.cli.embedded.runfile import RunFile

VERSION: Final = 1


class Manifest(msgspec.Struct, kw_only=True):
    """The base of one session."""

    version: int = VERSION
    source: str = ""
    """The folder that was copied, absolute; empty when nothing was copied in."""
    entries: dict[str, Entry] = {}
    """What was copied, by path relative to `source`."""
    left_out: list[str] = []
    """Paths that were not copied; those of folders end with `/`."""
    applied: dict[str, dict[str, Entry | None]] = {}
    """The entries that `apply` wrote, by folder and path; None where it removed a file."""


class Base:
    """The base of one session. A session without `--dir` has an empty one."""

    def __init__(self, run: RunFile, session: str) -> None:
        self.workspace = run.workspace(session)
        self._home = Path(run.data) / "cli" / "bases"
        self.folder = self._home / session
        self._manifest = self.folder / "manifest.json"
        self._blobs = self.folder / "blobs"

    def read(self) -> Manifest:
        """The manifest; an empty one when nothing was copied in."""
        try:
            raw = json.loads(self._manifest.read_bytes())
        except FileNotFoundError:
            return Manifest()
        return msgspec.convert(raw, Manifest)

    def write(self, manifest: Manifest) -> None:
        """Replace the manifest. The json module encodes surrogates, which stand for file names that are not UTF-8."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._manifest, json.dumps(msgspec.to_builtins(manifest)).encode())

    def blob(self, digest: str) -> Path:
        """The path of the content with that SHA-256."""
        return self._blobs / digest[:2] / digest

    def content(self, digest: str) -> bytes:
        """The content with that SHA-256. Raises OSError if it was removed."""
        return self.blob(digest).read_bytes()

    def new_blob(self) -> Path:
        """A path to write content to whose digest is not known yet; then call `keep`."""
        self._blobs.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._blobs / f"new-{os.getpid()}"

    def keep(self, part: Path, digest: str) -> None:
        """Move the file `part` to the path of its digest."""
        place = self.blob(digest)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        part.replace(place)

    def remove_stale(self) -> None:
        """Remove the bases of sessions that were deleted: their workspaces are gone."""
        if not self._home.is_dir():
            return
        for folder in self._home.iterdir():
            if folder != self.folder and not (self.workspace.parent / folder.name).exists():
                shutil.rmtree(folder, ignore_errors=True)
