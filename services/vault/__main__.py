"""`python -m services.vault`."""

from services.vault.main import main

if __name__ == "__main__":
    main()
