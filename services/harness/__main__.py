"""`python -m holdfast.harness`."""

import holdfast.process.lean_imports  # noqa: F401  # pyright: ignore[reportUnusedImport]

# isort: split

from holdfast.harness.main import main, preload
from holdfast.harness.settings import HarnessSettings
from holdfast.process.lifecycle import launch

if __name__ == "__main__":
    launch("harness", HarnessSettings, main, preload=preload)
