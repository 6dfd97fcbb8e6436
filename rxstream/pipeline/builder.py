"""Builds a pipeline step by step, and says everything that is wrong with it at once."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypedDict, Unpack

import aiohttp
import msgspec
from msgspec import Struct
from reactivex import abc

from rxstream.dialect import Dialect
from rxstream.flow import BackpressureConfig, Overflow, RetryPolicy, StreamBackpressureController
from rxstream.pipeline.build import build
from rxstream.pipeline.config import Added, PipelineConfig
from rxstream.pipeline.presets import BALANCED, HIGH_THROUGHPUT, LOW_LATENCY, LOW_MEMORY, Preset
from rxstream.pipeline.stage import Transformer
from rxstream.pipeline.streaming_pipeline import StreamingPipeline
from rxstream.providers import AiProvider
from rxstream.sources import Deadlines
from rxstream.taps import MetricsRegistry, StreamMetrics
from rxstream.tokens import Json


class ProviderOptions(TypedDict, total=False):
    """What `AiProvider` takes beside the dialect and the controller."""

    api_key: str | Callable[[], str] | Callable[[], Awaitable[str]] | None
    base_url: str | None
    session: aiohttp.ClientSession | None
    deadlines: Deadlines | None
    retry: RetryPolicy | None


class StreamPipelineBuilder(Struct, frozen=True):
    """A pipeline in the making: a value, of which every step returns a new one.

        pipeline = (
            StreamPipelineBuilder()
            .with_model("openai:gpt-5")
            .low_latency()
            .add_transformer(content_filter(["secret"]))
            .enable_metrics()
            .build()
        )

    No step raises: `build` says everything that is wrong, at once. A setting that is
    given twice has its last value; transformers add up. What nobody asks for is not
    there: a builder that was told nothing builds a pipeline that changes nothing.

    Tokens pass, in this order: the controller (which they meet only as the pace of their
    source), metrics, the transformers as they were added, what gathers deltas, and the
    queue, or the delivery on another scheduler, which has that queue.

    >>> import reactivex
    >>> from rxstream import TextDelta
    >>> louder = StreamPipelineBuilder().add_transformer(lambda token: TextDelta(token.text.upper()), name="louder")
    >>> spoken = []
    >>> subscription = reactivex.of(TextDelta("why "), TextDelta("not")).pipe(louder.build()).subscribe(spoken.append)
    >>> [token.text for token in spoken]
    ['WHY ', 'NOT']
    >>> louder.with_backpressure(capacity=64).enable_metrics().build()
    <StreamingPipeline tokens → tap_metrics → louder → buffered(64)>
    """

    config: PipelineConfig = PipelineConfig()

    def build(self) -> StreamingPipeline:
        """Return the pipeline.

        Raises one `ConfigurationError` that lists every mistake.

        >>> StreamPipelineBuilder().with_provider("opnai").with_backpressure(capacity=0).add_transformer(3).build()
        Traceback (most recent call last):
        rxstream.errors.ConfigurationError: this pipeline can't be built:
        - with_provider: there is no dialect 'opnai'; known are ... Did you mean openai?
        - transformer 1 (int): a value of int is no machine class, operator or function
        - with_backpressure: the capacity must be at least 1, not 0
        """
        return build(self.config)

    # Where tokens come from

    def with_provider(
        self, provider: AiProvider | Dialect[Any] | str, **options: Unpack[ProviderOptions]
    ) -> "StreamPipelineBuilder":
        """Ask `provider`: an `AiProvider`, or a dialect or its name, such as `openai.chat` or just `openai`.

        Of a name the pipeline makes a provider of its own, with `options`; see `AiProvider`.
        """
        return self._with(provider=provider, provider_options=dict(options))

    def with_model(self, model: str, **options: Json) -> "StreamPipelineBuilder":
        """Ask `model`, with `options`, fields of `ChatRequest`, unless a request says otherwise.

        Where no provider is named, the model's name says that too: `openai:gpt-5`.
        """
        return self._with(model=model, request_options=options)

    def with_dialect(self, dialect: Dialect[Any] | str) -> "StreamPipelineBuilder":
        """Read the bytes that `process` is given as those of `dialect`; by default as the provider's."""
        return self._with(dialect=dialect)

    # How fast

    def with_backpressure(
        self,
        config: BackpressureConfig | None = None,
        *,
        controller: StreamBackpressureController | None = None,
        capacity: int | None = None,
        low: int | None = None,
        overflow: Overflow | None = None,
        weigh: Callable[[Any], int] | None = None,
    ) -> "StreamPipelineBuilder":
        """Bound what waits; what is left out stays as the preset has it.

        `config` says how much each stream reads at a time and holds in all, down to the
        sink; a `controller` says it for all streams that have it, together. Either holds for
        sources that have no controller of their own.

        `capacity`, `low`, `overflow` and `weigh` are those of `buffered` and make the
        pipeline's own queue; a `capacity` without `weigh` counts tokens, whatever
        the preset counts. Strategies that lose items are not for tokens.
        """
        given = {
            "backpressure": config,
            "controller": controller,
            "capacity": capacity,
            "low": low,
            "overflow": overflow,
            "weigh": weigh,
        }
        return self._with(**{name: value for name, value in given.items() if value is not None})

    def gather(self, period: timedelta) -> "StreamPipelineBuilder":
        """Join the neighbouring deltas that come within `period`: fewer tokens, each at most so much later."""
        return self._with(gathering=period)

    def deliver_on(self, scheduler: abc.SchedulerBase) -> "StreamPipelineBuilder":
        """Deliver on `scheduler`, such as that of a UI, through the pipeline's queue."""
        return self._with(scheduler=scheduler)

    # What happens to them

    def add_transformer(self, transformer: Transformer, *, name: str | None = None) -> "StreamPipelineBuilder":
        """Add a step: what makes a machine, an operator, or a function of a token to a token, a list or `None`.

        How the three are told apart is written in `rxstream.pipeline.stage`. An operator
        that gives something else than tokens, such as `text()`, goes behind the pipeline.
        `name` is what the pipeline calls it when it is shown.
        """
        return self._with(transformers=(*self.config.transformers, Added(transformer, name)))

    def enable_metrics(
        self, metrics: StreamMetrics | MetricsRegistry | None = None, *, registry: MetricsRegistry | None = None
    ) -> "StreamPipelineBuilder":
        """Count what the source gives, in a registry: by default a new one, which the pipeline has as `metrics`.

        A `StreamMetrics` counts one stream, so it is for a pipeline of one; `NO_METRICS` turns it off.
        """
        return self._with(metrics=next((one for one in (registry, metrics) if one is not None), MetricsRegistry()))

    # What matters most

    def low_latency(self) -> "StreamPipelineBuilder":
        """Keep a consumer that falls behind close to the stream.

        Tokens go straight through while they are wanted. What has to wait is joined, up to
        4 KiB of text, so that the consumer gets it all at once; then the source is told to wait.

        Measured, against no preset, with bursts of 200 tokens and a consumer that takes a millisecond
        for each it is given: it is done with a token after about a seventieth of the time. A quick
        consumer gains nothing, and pays half a microsecond of CPU a token.
        """
        return self._preset(LOW_LATENCY)

    def balanced(self) -> "StreamPipelineBuilder":
        """Give every token as it came, with 256 of them between source and consumer; then the source is told to wait.

        Measured, against no preset: much the same in every respect, for half a microsecond of
        CPU a token, but a consumer without a queue of its own does not stop the source at once.
        """
        return self._preset(BALANCED)

    def high_throughput(self) -> "StreamPipelineBuilder":
        """Spend little on each token: have fewer, larger ones.

        Reads are of 64 KiB. The neighbouring deltas of 20 milliseconds are joined, and so is all
        that has to wait, up to 1 MiB of text; then the source is told to wait.

        Measured, against no preset: three quarters of the CPU a token of a flood that is read in an
        `async for`, and less the more is done with each; a stream that nobody reads on holds a
        third; tokens come up to 20 milliseconds later.
        """
        return self._preset(HIGH_THROUGHPUT)

    def low_memory(self) -> "StreamPipelineBuilder":
        """Hold little of each stream: for very many at once.

        Reads are of 4 KiB, which bounds what the HTTP client holds as well. 128 tokens and
        16 KiB of text may wait, from the source to the sink, 64 tokens of them in the pipeline.

        Measured, against no preset: a stream that nobody reads on holds about a fifth, some 60 KiB;
        a token of a flood costs about twice the CPU.
        """
        return self._preset(LOW_MEMORY)

    def _preset(self, preset: Preset) -> "StreamPipelineBuilder":
        return self._with(presets=(*self.config.presets, preset))

    def _with(self, **changes: Any) -> "StreamPipelineBuilder":
        return StreamPipelineBuilder(msgspec.structs.replace(self.config, **changes))
