"""`python -m holdfast.vault`."""

import holdfast.process.lean_imports  # noqa: F401  # pyright: ignore[reportUnusedImport]

# isort: split

from holdfast.vault.main import main

if __name__ == "__main__":
    main()
