"""`python -m holdfast.vault`."""

from holdfast.vault.main import main

if __name__ == "__main__":
    main()
