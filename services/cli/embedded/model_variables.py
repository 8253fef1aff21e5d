"""Names of the variables with which a user names a model. Pure."""

from typing import Final

URL: Final = "HOLDFAST_MODEL_BASE_URL"
KEY: Final = "HOLDFAST_MODEL_API_KEY"
KEY_FILE: Final = "HOLDFAST_MODEL_KEY_FILE"
KIND: Final = "HOLDFAST_MODEL"
VENDOR_URL: Final = "ANTHROPIC_BASE_URL"
VENDOR_KEY: Final = "ANTHROPIC_API_KEY"
