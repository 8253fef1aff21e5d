"""`python -m services.harness`."""

from services.harness.main import main
from services.harness.settings import HarnessSettings
from services.process.lifecycle import launch

if __name__ == "__main__":
    launch("harness", HarnessSettings, main)
