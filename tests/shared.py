"""Where the shared test data lies: beside the project, never copied into it."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared test data is not beside the project")
"""Skip, and say so, where `SHARED` is absent."""


def shared_files(pattern: str) -> list[Path]:
    """Return the shared files that match `pattern`, sorted; none where `SHARED` is absent."""
    return sorted(SHARED.glob(pattern))
