"""How the tests run: hypothesis profiles, and what pytest leaves alone."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

collect_ignore = ["benchmarks"]  # programs with clients of their own, not tests: `python -m tests.benchmarks`

# No deadlines and no complaint about slow examples: a busy machine is not a fault of the code.
steady = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("local", steady)
# The same examples each time: a check that fails, fails for the change.
settings.register_profile("ci", steady, derandomize=True, database=None)
settings.register_profile("thorough", steady, max_examples=2_000)
# CI's examples, and none made smaller, since nobody reads them: for `python -m tests.mutation`.
settings.register_profile("mutation", steady, derandomize=True, database=None, phases=(Phase.explicit, Phase.generate))
settings.load_profile("ci" if "CI" in os.environ else "local")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests recorded by `record_property("figure", …)`: how much a test of many cases has tried."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    properties = {each for report in reports for each in getattr(report, "user_properties", ())}
    for figure in sorted(value for name, value in properties if name == "figure"):
        terminalreporter.write_line(figure)
