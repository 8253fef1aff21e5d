"""The figures, each beside a floor from the same run: `make bench`, or `python -m benchmarks NAME …` for a few."""
