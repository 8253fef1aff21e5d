"""`python -m services.harness`."""

import sys

from services.harness.main import main
from services.process.lifecycle import run

if __name__ == "__main__":
    sys.exit(run(main))
