"""Many streams for a long time, with faults: `python -m tests.soak`."""
