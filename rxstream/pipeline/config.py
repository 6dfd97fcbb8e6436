"""What a pipeline is to be, as a value: just as it was said, right or wrong."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from msgspec import Struct
from reactivex import abc

from rxstream.dialect import Dialect
from rxstream.flow import BackpressureConfig, Overflow, StreamBackpressureController
from rxstream.pipeline.presets import Preset
from rxstream.pipeline.stage import Transformer
from rxstream.providers import AiProvider
from rxstream.taps import MetricsRegistry, StreamMetrics
from rxstream.tokens import Json


class Added(Struct, frozen=True):
    """A transformer, and what it is to be called if not by its own name."""

    transformer: Transformer
    name: str | None = None


class PipelineConfig(Struct, frozen=True, kw_only=True):
    """Everything that the steps of a builder say; `None` was not said."""

    provider: AiProvider | Dialect[Any] | str | None = None
    provider_options: Mapping[str, Any] = {}
    model: str | None = None
    request_options: Mapping[str, Json] = {}
    dialect: Dialect[Any] | str | None = None
    presets: tuple[Preset, ...] = ()
    """Two that differ are a mistake."""
    backpressure: BackpressureConfig | None = None
    controller: StreamBackpressureController | None = None
    capacity: int | None = None
    low: int | None = None
    overflow: Overflow | None = None
    weigh: Callable[[Any], int] | None = None
    gathering: timedelta | None = None
    scheduler: abc.SchedulerBase | None = None
    metrics: StreamMetrics | MetricsRegistry | None = None
    transformers: tuple[Added, ...] = ()

    def __repr__(self) -> str:
        """Name what was said, but not the values: one may be a key."""
        return f"PipelineConfig(with {', '.join(name for name, _ in self.__rich_repr__()) or 'nothing'})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show as little in a notebook."""
        return [(name, "...") for name in self.__struct_fields__ if getattr(self, name) not in (None, (), {})]
