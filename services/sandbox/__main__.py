"""`python -m holdfast.sandbox`."""

import holdfast.process.lean_imports  # noqa: F401  # pyright: ignore[reportUnusedImport]

# isort: split

from holdfast.process.lifecycle import launch
from holdfast.sandbox.main import main
from holdfast.sandbox.settings import SandboxSettings

if __name__ == "__main__":
    launch("sandbox", SandboxSettings, main)
