"""Every sink keeps every law."""

import pytest

from tests.contract.lawbook import Law
from tests.contract.sink_laws import SINK_LAWS
from tests.contract.subjects import SINKS, Sink


@pytest.mark.parametrize("sink", SINKS.values(), ids=[f"{drain.__name__} {how}".strip() for drain, how in SINKS])
@pytest.mark.parametrize("law", SINK_LAWS.laws, ids=lambda law: law.__name__)
def test_a_sink_keeps_the_law(law: Law[Sink], sink: Sink) -> None:
    law(sink)
