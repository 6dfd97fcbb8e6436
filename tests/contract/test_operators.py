"""Every operator keeps every law."""

import pytest

from tests.contract.lawbook import Law
from tests.contract.stage_laws import STAGE_LAWS
from tests.contract.subjects import STAGES, Stage


@pytest.mark.parametrize("stage", STAGES.values(), ids=[f"{make.__name__} {how}".strip() for make, how in STAGES])
@pytest.mark.parametrize("law", STAGE_LAWS.laws, ids=lambda law: law.__name__)
def test_an_operator_keeps_the_law(law: Law[Stage], stage: Stage) -> None:
    law(stage)
