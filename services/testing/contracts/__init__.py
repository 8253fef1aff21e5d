"""The contracts as pytest tests: of a bus, one module per part (`log`, `inbox`, `kv`, `core`), and of a hand (`hands`).

They need pytest and pytest-asyncio in auto mode: `pip install 'holdfast-agents[testing]'`. Import all names of a module
into a test module, and define the fixture `joined` (see `fixtures`) over the bus under test. For `hands` define the
fixture `hand` too, which runs the worker under test.

pytest must rewrite the assertions of these modules before they are imported, so it is told here.
"""

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in ("core", "hands", "inbox", "kv", "log")))
