"""What a broken law says: its asserts show their values, like those of a test."""

import pytest

pytest.register_assert_rewrite("tests.contract.sink_laws", "tests.contract.source_laws", "tests.contract.stage_laws")
