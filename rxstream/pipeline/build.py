"""From what was said of a pipeline to the pipeline, or to the list of all that is wrong with it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from reactivex import abc

from rxstream.dialect import Dialect
from rxstream.dialects import dialect as named
from rxstream.dialects import dialect_and_model
from rxstream.errors import ConfigurationError
from rxstream.flow import BackpressureConfig, Overflow, StreamBackpressureController
from rxstream.messages import ChatRequest
from rxstream.operators import buffered, deliver_on
from rxstream.pipeline.config import PipelineConfig
from rxstream.pipeline.controlled import controlled
from rxstream.pipeline.gathered import gathered
from rxstream.pipeline.presets import Preset
from rxstream.pipeline.stage import Stage, name_of, stage_of
from rxstream.pipeline.streaming_pipeline import StreamingPipeline
from rxstream.providers import AiProvider
from rxstream.taps import NO_METRICS, MetricsRegistry, StreamMetrics, tap_metrics

T = TypeVar("T")

CAPACITY = 1024
"""Items that wait in a pipeline's queue where it is asked for and nobody says how many."""


def build(config: PipelineConfig) -> StreamingPipeline:
    """Return the pipeline that `config` describes; raise one `ConfigurationError` that lists every mistake."""
    return _Build(config).pipeline()


class _Build:
    """Makes what can be made, and collects what is wrong with the rest."""

    def __init__(self, config: PipelineConfig) -> None:
        self._config = config
        self._mistakes: list[str] = []

    def pipeline(self) -> StreamingPipeline:
        config = self._config
        provider, model = self._provider()
        self._check_options()
        dialect = self._dialect()
        preset = self._preset()
        stages = [
            *self._controller(preset, provider),
            *self._metrics(),
            *self._transformers(),
            *self._gathering(preset),
            *self._queue(preset),
        ]
        if self._mistakes:
            raise ConfigurationError("\n- ".join(["this pipeline can't be built:", *self._mistakes]))
        return StreamingPipeline(
            stages,
            provider=provider,
            owns_provider=provider is not config.provider,
            model=model,
            options=config.request_options,
            dialect=dialect,
            metrics=config.metrics,
        )

    def _tried(self, step: str, make: Callable[[], T]) -> T | None:
        """Return what `make` returns; what it raises is one more mistake, of `step`."""
        try:
            return make()
        except (ConfigurationError, TypeError, ValueError) as error:
            self._mistakes.append(f"{step}: {error}")
            return None

    def _provider(self) -> tuple[AiProvider | None, str | None]:
        config = self._config
        model = None if config.model is None else self._tried("with_model", lambda: _name(config.model))
        given, options = config.provider, config.provider_options
        if given is None:
            if model is None or ":" not in model:
                return None, model
            both = self._tried("with_model", lambda: _provider_and_model(model))
            return both or (None, None)
        if isinstance(given, AiProvider):
            provider = given
            if options:
                self._mistakes.append(f"with_provider: {', '.join(options)} must be given to the AiProvider itself")
        else:
            kinds = (AiProvider, Dialect, str)
            provider = self._tried("with_provider", lambda: AiProvider(_one_of(given, *kinds), **options))
        return provider, model if provider is None or model is None else _without(provider.dialect.name, model)

    def _check_options(self) -> None:
        known = set(ChatRequest.__struct_fields__) - {"model", "messages"}
        if unknown := [name for name in self._config.request_options if name not in known]:
            self._mistakes.append(f"with_model: a request has no option {', '.join(unknown)}")

    def _dialect(self) -> Dialect[Any] | None:
        given = self._config.dialect
        return None if given is None else self._tried("with_dialect", lambda: named(_one_of(given, Dialect, str)))

    def _preset(self) -> Preset | None:
        presets = self._config.presets
        names = list(dict.fromkeys(preset.name for preset in presets))
        if len(names) > 1:
            self._mistakes.append(f"{' and '.join(names)} contradict each other: choose one")
        return presets[-1] if presets else None

    def _controller(self, preset: Preset | None, provider: AiProvider | None) -> list[Stage]:
        config, shared = self._config.backpressure, self._config.controller
        if config is None and shared is None:
            return [] if preset is None or preset.control is None else [Stage("controlled", controlled(preset.control))]
        if config is not None and shared is not None:
            self._mistakes.append(
                "with_backpressure: a config bounds each stream, a controller all of them together: choose one"
            )
        if provider is not None and provider.controller is not None:
            self._mistakes.append("with_backpressure: the provider has a controller of its own, which goes before")
        control = self._tried("with_backpressure", lambda: _control(config, shared))
        return [] if control is None else [Stage("controlled", controlled(control))]

    def _metrics(self) -> list[Stage]:
        given = self._config.metrics
        if given is None or given is NO_METRICS:
            return []
        metrics = self._tried("enable_metrics", lambda: _one_of(given, StreamMetrics, MetricsRegistry))
        return [] if metrics is None else [Stage("tap_metrics", tap_metrics(metrics))]

    def _transformers(self) -> list[Stage]:
        stages: list[Stage] = []
        for number, added in enumerate(self._config.transformers, start=1):
            called = added.name or name_of(added.transformer)
            stage = self._tried(
                f"transformer {number} ({called})", lambda added=added: stage_of(added.transformer, added.name)
            )
            if stage is not None:
                stages.append(stage)
        return stages

    def _gathering(self, preset: Preset | None) -> list[Stage]:
        chosen = self._config.gathering
        period = preset and preset.gather if chosen is None else chosen
        if period is None:
            return []
        apply = self._tried("gather", lambda: gathered(_one_of(period, timedelta)))
        return [] if apply is None else [Stage(f"gathered({period.total_seconds() * 1000:g} ms)", apply)]

    def _queue(self, preset: Preset | None) -> list[Stage]:
        config = self._config
        capacity, low, weigh, overflow = config.capacity, config.low, config.weigh, config.overflow
        if preset is not None and preset.capacity is not None:
            overflow = overflow or preset.overflow
            if capacity is None:  # another capacity would not go with what the preset counts
                capacity, weigh = preset.capacity, weigh or preset.weigh
        elif all(said is None for said in (capacity, low, weigh, overflow, config.scheduler)):
            return []
        stage = self._tried(
            "with_backpressure",
            lambda: _queue_stage(
                _one_of(CAPACITY if capacity is None else capacity, int),
                low if low is None else _one_of(low, int),
                _one_of(overflow or Overflow.PAUSE, Overflow),
                weigh if weigh is None else _callable(weigh),
                config.scheduler if config.scheduler is None else _one_of(config.scheduler, abc.SchedulerBase),
            ),
        )
        return [] if stage is None else [stage]


def _control(
    config: BackpressureConfig | None, shared: StreamBackpressureController | None
) -> Callable[[], StreamBackpressureController]:
    if shared is not None:
        controller = _one_of(shared, StreamBackpressureController)
        return lambda: controller
    checked = _one_of(config, BackpressureConfig)
    return lambda: StreamBackpressureController(checked)


def _queue_stage(
    capacity: int,
    low: int | None,
    overflow: Overflow,
    weigh: Callable[[Any], int] | None,
    scheduler: abc.SchedulerBase | None,
) -> Stage:
    if overflow.drops:
        raise ValueError(f"{overflow.name} would drop tokens of the answer; CONFLATE keeps all text")
    facts = ", ".join(
        [
            *([] if scheduler is None else [type(scheduler).__name__]),
            f"{capacity}" if weigh is None else f"{capacity} by weight",
            *([] if overflow is Overflow.PAUSE else [overflow.name]),
        ]
    )
    if scheduler is None:
        return Stage(f"buffered({facts})", buffered(capacity, low=low, overflow=overflow, weigh=weigh))
    return Stage(f"deliver_on({facts})", deliver_on(scheduler, capacity, low=low, overflow=overflow, weigh=weigh))


def _provider_and_model(name: str) -> tuple[AiProvider, str]:
    dialect, model = dialect_and_model(name)
    return AiProvider(dialect), model


def _without(api: str, model: str) -> str:
    """The model's name alone, if it says `api` once more; any other colon is the name's own (`llama3:8b`)."""
    provider, _, rest = model.partition(":")
    return rest if rest and provider in {api, api.partition(".")[0]} else model


def _one_of(value: object, *kinds: type[Any]) -> Any:
    """Return `value`, if it is of one of these kinds: not everybody has a type checker.

    What it is instead is not shown: it may be a key.
    """
    if not isinstance(value, kinds) or isinstance(value, bool):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{wanted} is wanted, not {type(value).__name__}")
    return value


def _callable(value: Callable[[Any], int]) -> Callable[[Any], int]:
    if not callable(value):
        raise TypeError(f"weigh must be a function, not {type(value).__name__}")
    return value


def _name(model: object) -> str:
    if not isinstance(model, str) or not model.strip():
        raise TypeError("it wants the name of a model")
    return model
