"""What belongs to other systems is imported only by who asks for it."""

import subprocess
import sys

OUTSIDE = ["opentelemetry", "prometheus_client", "starlette", "rxstream.integrations.serving"]


def test_rxstream_imports_nothing_of_other_systems() -> None:
    program = (
        f"import sys, rxstream, rxstream.integrations; print([name for name in {OUTSIDE!r} if name in sys.modules])"
    )

    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"


def test_a_stream_is_served_without_the_extras() -> None:
    program = (
        f"import sys, rxstream.integrations.serving; print([name for name in {OUTSIDE[:3]!r} if name in sys.modules])"
    )

    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"
