"""The model that commands use when none is named."""

from typing import Final

DEFAULT_MODEL: Final = "claude-sonnet-5-5"
"""The only place where the product names a model; a test checks it against the SDK's list of deprecated ones."""
