"""What a token costs, beside other ways to read it: `python -m tests.benchmarks`."""
