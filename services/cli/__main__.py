"""`python -m holdfast.cli`: the `holdfast` program."""

from holdfast.cli.entry import main

main()
