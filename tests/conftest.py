"""How the tests run: hypothesis profiles, and what pytest leaves alone."""

import os

from hypothesis import HealthCheck, settings

collect_ignore = ["benchmarks"]  # programs with clients of their own, not tests: `python -m tests.benchmarks`

# No deadlines and no complaint about slow examples: a busy machine is not a fault of the code.
steady = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("local", steady)
# The same examples each time: a check that fails, fails for the change.
settings.register_profile("ci", steady, derandomize=True, database=None)
settings.register_profile("thorough", steady, max_examples=2_000)
settings.load_profile("ci" if "CI" in os.environ else "local")
