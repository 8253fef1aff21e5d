"""`python -m holdfast.cli`: the `holdfast` program."""

from holdfast.cli.main import main

main()
