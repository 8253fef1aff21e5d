"""The id of a host: of the data folder in which the files of sessions lie, not of the machine.

Workers that share a data folder are on one host. A folder that is moved to another machine keeps its id, so its
sessions go on there.
"""

import os
from pathlib import Path
from typing import Final

from holdfast.bus.ids import is_token, new_id
from holdfast.process.settings import BadSettings

FILE: Final = "host-id"
"""Name of the file with the id, in the data folder."""


def host_id(data: Path) -> str:
    """The id stored in the folder `data`, which must exist; it is made if there is none. Blocks. Raises BadSettings."""
    path = data / FILE
    if not path.exists():
        _store(path, new_id("hst"))
    stored = path.read_text(errors="replace").strip()
    if not is_token(stored):
        raise BadSettings(f"HOLDFAST_DATA_DIR: {path} does not hold the id of a host; restore it from a backup")
    return stored


def _store(path: Path, value: str) -> None:
    """Create the file with this content, whole or not at all. Another worker's file of the same name stays."""
    draft = path.with_name(f"{path.name}.{value}")
    with draft.open("w") as file:
        file.write(f"{value}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
