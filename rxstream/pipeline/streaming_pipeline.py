"""A pipeline: what a stream goes through from its source to its sink, put together once and used for many."""

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, cast

from reactivex import Observable

from rxstream import markup
from rxstream.dialect import Dialect
from rxstream.errors import ConfigurationError
from rxstream.messages import ChatRequest, Message
from rxstream.operators import text
from rxstream.pipeline.stage import Stage
from rxstream.providers import AiProvider
from rxstream.sources import HttpStreamHandler
from rxstream.sources.body import Body
from rxstream.taps import MetricsRegistry, StreamMetrics
from rxstream.tokens import Json, StreamToken

Request = str | list[Message] | ChatRequest


class StreamingPipeline:
    """Source or provider, controller, taps, transformers and delivery, joined; made by `StreamPipelineBuilder`.

        pipeline = StreamPipelineBuilder().with_model("openai:gpt-5").low_latency().build()
        tokens = pipeline.run("Why is the sky blue?")

    It keeps nothing of a stream: each subscription has machines, queues and a controller
    of its own, so one pipeline serves many streams at once, one after the other, and
    from any thread. It is an operator too: `source.pipe(pipeline)`.

    Close it with `aclose()` or `async with` if it was built with the name of a provider:
    that one is its own. A provider that it was given stays the giver's to close.
    """

    def __init__(
        self,
        stages: Iterable[Stage] = (),
        *,
        provider: AiProvider | None = None,
        owns_provider: bool = False,
        model: str | None = None,
        options: Mapping[str, Json] | None = None,
        dialect: Dialect[Any] | None = None,
        metrics: StreamMetrics | MetricsRegistry | None = None,
    ) -> None:
        self.stages = tuple(stages)
        """In the order in which tokens pass them."""
        self.provider = provider
        self.model = model
        self.metrics = metrics
        """Where every stream is counted, if that was enabled."""
        self._options = dict(options or {})
        self._dialect = dialect or (provider and provider.dialect)
        self._owns_provider = owns_provider

    def __call__(self, source: Observable[StreamToken]) -> Observable[StreamToken]:
        """Return `source` through all stages: the pipeline as an operator."""
        for stage in self.stages:
            source = stage.apply(source)
        return source

    def run(self, request: Request, **options: Json) -> Observable[StreamToken]:
        """Ask the provider, and return the answer through all stages: cold, so each subscription is a request.

        `options` are fields of `ChatRequest`; the model and the options that the pipeline
        was built with stand behind them, but a whole `ChatRequest` is asked as it is.
        Raises `ConfigurationError` without a provider or a model, `TypeError` for an
        unknown option.
        """
        if self.provider is None:
            raise ConfigurationError("this pipeline has no provider to ask: build it with_provider() or with_model()")
        if not isinstance(request, ChatRequest):
            options = {**({} if self.model is None else {"model": self.model}), **self._options, **options}
            if "model" not in options:
                raise ConfigurationError("no model is named: build the pipeline with_model(), or pass model=")
        return self(self.provider.stream(ChatRequest.of(request, **options)))

    def process(
        self, stream: Observable[StreamToken] | Body, *, dialect: Dialect[Any] | str | None = None
    ) -> Observable[StreamToken]:
        """Return `stream` through all stages.

        An `Observable` is of tokens; with a `dialect` it is of the bytes of a body. Everything
        else is a body: an open `aiohttp.ClientResponse`, bytes, or an iterable or async
        iterable of bytes, read in `dialect` or, without one, that of the pipeline. Raises
        `ConfigurationError` if there is none, or it is unknown.
        """
        if isinstance(stream, Observable) and dialect is None:
            return self(cast("Observable[StreamToken]", stream))
        chosen = dialect or self._dialect
        if chosen is None:
            raise ConfigurationError("of which API are these bytes? Pass dialect=, or build it with_dialect()")
        return self(HttpStreamHandler(chosen).into_stream(cast(Body, stream)))

    def process_simple(self, stream: str | ChatRequest | Observable[StreamToken] | Body) -> Observable[str]:
        """Return the visible text of `stream` and nothing else, piece by piece.

        A prompt or a `ChatRequest` is asked, as by `run`; all else is read, as by `process`.
        """
        is_request = isinstance(stream, str | ChatRequest)
        return (self.run(stream) if is_request else self.process(stream)).pipe(text())

    async def aclose(self) -> None:
        """Close the provider, if it is the pipeline's own; streams that still run end in a `TransportError`."""
        if self._owns_provider and self.provider is not None:
            await self.provider.aclose()

    async def __aenter__(self) -> "StreamingPipeline":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __str__(self) -> str:
        return " → ".join(self._names())

    def _names(self) -> list[str]:
        """Where tokens come from, and the stages that they pass."""
        asked = " ".join(part for part in (self._dialect and self._dialect.name, self.model) if part)
        return [asked or "tokens", *map(str, self.stages)]

    def _repr_html_(self) -> str:
        return markup.chain(self._names())

    def __repr__(self) -> str:
        return f"<StreamingPipeline {self}>"
