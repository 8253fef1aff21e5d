"""Imported first by every program that logs: structlog without rich.

If rich is installed, structlog imports it with Pygments, to colour tracebacks on a terminal. The services write JSON,
so that would cost each process time at its start and memory for nothing. It is blocked while structlog is imported.
"""

import sys
from typing import Any, cast

_modules = cast("dict[str, Any]", sys.modules)
_blocked = "structlog" not in _modules and "rich" not in _modules
if _blocked:
    _modules["rich"] = None  # `import rich` now raises ImportError
try:
    import structlog  # pyright: ignore[reportUnusedImport]  # noqa: F401
finally:
    if _blocked:
        del _modules["rich"]
