"""`python -m holdfast.session`."""

import holdfast.process.lean_imports  # noqa: F401  # pyright: ignore[reportUnusedImport]

# isort: split

from holdfast.process.lifecycle import launch
from holdfast.session.main import main
from holdfast.session.settings import SessionSettings

launch("session", SessionSettings, main)
