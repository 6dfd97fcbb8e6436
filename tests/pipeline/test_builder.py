"""The builder: a value, whose steps make new ones, and whose mistakes are told at once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as ops
from reactivex.testing import TestScheduler

from rxstream import (
    NO_METRICS,
    AiProvider,
    BackpressureConfig,
    ConfigurationError,
    MetricsRegistry,
    Overflow,
    StreamBackpressureController,
    StreamMetrics,
    StreamPipelineBuilder,
    lift,
)
from rxstream.pipeline import PRESETS
from tests.toy import TOY

Step = Callable[[StreamPipelineBuilder], StreamPipelineBuilder]

STEPS: dict[str, Step] = {
    "with_provider": lambda builder: builder.with_provider("openai.chat", api_key=None),
    "with_model": lambda builder: builder.with_model("gpt-5", temperature=0.5),
    "with_dialect": lambda builder: builder.with_dialect("anthropic.messages"),
    "with_backpressure, config": lambda builder: builder.with_backpressure(BackpressureConfig(maximum_items=5)),
    "with_backpressure, queue": lambda builder: builder.with_backpressure(capacity=9, overflow=Overflow.CONFLATE),
    "gather": lambda builder: builder.gather(timedelta(milliseconds=5)),
    "deliver_on": lambda builder: builder.deliver_on(TestScheduler()),
    "add_transformer": lambda builder: builder.add_transformer(ops.take(3)),
    "enable_metrics": lambda builder: builder.enable_metrics(),
    "low_latency": lambda builder: builder.low_latency(),
    "balanced": lambda builder: builder.balanced(),
    "high_throughput": lambda builder: builder.high_throughput(),
    "low_memory": lambda builder: builder.low_memory(),
}

NEW = StreamPipelineBuilder()

some_steps = st.lists(st.sampled_from(list(STEPS.values())), max_size=6)


def said(builder: StreamPipelineBuilder) -> dict[str, Any]:
    """Everything that a builder was told."""
    return {name: getattr(builder.config, name) for name in builder.config.__struct_fields__}


@given(before=some_steps, step=st.sampled_from(list(STEPS.values())), after=some_steps)
def test_a_step_never_changes_the_builder_it_comes_from(before: list[Step], step: Step, after: list[Step]) -> None:
    builder = NEW
    for one in before:
        builder = one(builder)
    was = said(builder)

    made = step(builder)
    for one in after:
        one(made)

    assert said(builder) == was
    assert said(made) != was or made is not builder


@pytest.mark.parametrize("step", STEPS.values(), ids=list(STEPS))
def test_every_step_says_something(step: Step) -> None:
    assert said(step(NEW)) != said(NEW)


def test_a_builder_cannot_be_changed() -> None:
    builder = NEW

    with pytest.raises(AttributeError):
        builder.config = builder.low_memory().config  # type: ignore[misc]  # that is the point


def test_two_pipelines_may_be_built_from_where_they_part() -> None:
    common = NEW.add_transformer(ops.take(3), name="first")

    one = common.add_transformer(ops.take(2), name="one").build()
    other = common.add_transformer(ops.take(1), name="other").build()

    assert [str(stage) for stage in one.stages] == ["first", "one"]
    assert [str(stage) for stage in other.stages] == ["first", "other"]


# What is built


def shown(builder: StreamPipelineBuilder) -> str:
    return str(builder.build())


def test_nothing_said_is_nothing_done() -> None:
    assert NEW.build().stages == ()


def test_the_stages_are_in_the_order_that_is_documented() -> None:
    builder = (
        NEW.with_backpressure(BackpressureConfig(), capacity=9)
        .gather(timedelta(milliseconds=5))
        .add_transformer(ops.take(3))
        .enable_metrics()
        .with_model("openai:gpt-5")
        .add_transformer(ops.skip(1))
    )

    assert shown(builder) == (
        "openai.chat gpt-5 → controlled → tap_metrics → take → skip → gathered(5 ms) → buffered(9)"
    )
    assert repr(builder.build()) == f"<StreamingPipeline {shown(builder)}>"


def test_the_last_value_of_a_setting_counts() -> None:
    builder = NEW.with_backpressure(capacity=9).with_backpressure(capacity=0)

    assert shown(builder.with_backpressure(capacity=5)) == "tokens → buffered(5)"


@pytest.mark.parametrize(
    ("builder", "stages"),
    [
        (NEW.low_latency(), "tokens → buffered(4096 by weight, CONFLATE)"),
        (NEW.balanced(), "tokens → buffered(256)"),
        (
            StreamPipelineBuilder().high_throughput(),
            "tokens → controlled → gathered(20 ms) → buffered(1048576 by weight, CONFLATE)",
        ),
        (NEW.low_memory(), "tokens → controlled → buffered(64)"),
        (NEW.low_memory().low_memory(), "tokens → controlled → buffered(64)"),
        (NEW.balanced().with_backpressure(capacity=7), "tokens → buffered(7)"),
        (NEW.with_backpressure(capacity=7).balanced(), "tokens → buffered(7)"),
        (
            StreamPipelineBuilder().balanced().with_backpressure(overflow=Overflow.CONFLATE),
            "tokens → buffered(256, CONFLATE)",
        ),
        (NEW.low_latency().with_backpressure(capacity=7), "tokens → buffered(7, CONFLATE)"),
        (NEW.high_throughput().gather(timedelta(seconds=1)).with_backpressure(capacity=7),
         "tokens → controlled → gathered(1000 ms) → buffered(7, CONFLATE)"),
        (NEW.with_backpressure(overflow=Overflow.ERROR), "tokens → buffered(1024, ERROR)"),
        (NEW.with_backpressure(capacity=7, weigh=len), "tokens → buffered(7 by weight)"),
        (NEW.deliver_on(TestScheduler()), "tokens → deliver_on(TestScheduler, 1024)"),
        (NEW.deliver_on(TestScheduler()).balanced(), "tokens → deliver_on(TestScheduler, 256)"),
        (NEW.enable_metrics(NO_METRICS), "tokens"),
        (NEW.with_provider("openai", api_key=None).with_model("m"), "openai.chat m"),
        (NEW.with_provider(TOY), "toy"),
        (NEW.with_dialect("openai.chat"), "openai.chat"),
    ],
)  # fmt: skip
def test_what_was_said_is_what_is_built(builder: StreamPipelineBuilder, stages: str) -> None:
    assert shown(builder) == stages


def test_every_preset_has_a_step_of_its_name() -> None:
    chosen = {name: getattr(NEW, name)().config.presets for name in PRESETS}

    assert chosen == {name: (preset,) for name, preset in PRESETS.items()}


def test_a_preset_without_a_controller_leaves_how_to_read_to_the_source() -> None:
    assert PRESETS["balanced"].control is None
    assert isinstance(made := PRESETS["low_memory"].control, Callable)
    assert isinstance(controller := made(), StreamBackpressureController)
    assert controller.config.maximum_bytes == PRESETS["low_memory"].maximum_bytes
    assert controller.config.maximum_buffer == PRESETS["low_memory"].largest_read


@pytest.mark.parametrize(
    ("builder", "api", "model"),
    [
        (NEW.with_model("openai:gpt-5"), "openai.chat", "gpt-5"),
        (NEW.with_model("openai.chat:gpt-5"), "openai.chat", "gpt-5"),
        (NEW.with_model("openai:ft:gpt-5:me"), "openai.chat", "ft:gpt-5:me"),
        (NEW.with_model("gpt-5"), None, "gpt-5"),
        (NEW.with_model("gpt-5").with_provider("openai"), "openai.chat", "gpt-5"),
        (NEW.with_model("openai:gpt-5").with_provider("openai.chat"), "openai.chat", "gpt-5"),
        (NEW.with_model("llama3:8b").with_provider("openai.chat"), "openai.chat", "llama3:8b"),
        (NEW.with_model("anthropic:x").with_provider("openai.chat"), "openai.chat", "anthropic:x"),
    ],
)
def test_a_name_may_say_provider_and_model(builder: StreamPipelineBuilder, api: str | None, model: str) -> None:
    pipeline = builder.build()

    assert (pipeline.provider and pipeline.provider.dialect.name) == api
    assert pipeline.model == model


def test_a_provider_by_name_is_made_with_the_options() -> None:
    pipeline = NEW.with_provider("openai", api_key=None, base_url="http://here/v1").build()

    assert pipeline.provider is not None
    assert pipeline.provider.base_url == "http://here/v1"


def test_metrics_are_counted_where_one_says_or_in_a_new_registry() -> None:
    registry, metrics = MetricsRegistry(), StreamMetrics()

    assert NEW.build().metrics is None
    assert isinstance(NEW.enable_metrics().build().metrics, MetricsRegistry)
    assert StreamPipelineBuilder().enable_metrics(registry).build().metrics is registry
    assert StreamPipelineBuilder().enable_metrics(registry=registry).build().metrics is registry
    assert StreamPipelineBuilder().enable_metrics(metrics).build().metrics is metrics


# What is wrong


def mistakes_of(builder: StreamPipelineBuilder) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        builder.build()
    return caught.value.message.split("\n- ")[1:]


anything: Any = "anything"
three: Any = 3
misspelt: Any = {"bas_url": "x"}
unfinished: Any = lift
controller = StreamBackpressureController()
bounded = AiProvider("openai.chat", api_key=None, controller=controller)


@pytest.mark.parametrize(
    ("builder", "mistake"),
    [
        (NEW.with_provider("opnai"), "with_provider: there is no dialect 'opnai'"),
        (NEW.with_provider(three), "with_provider: AiProvider or Dialect or str is wanted, not int"),
        (NEW.with_provider("openai", base_url="nowhere"), "with_provider: base_url must begin"),
        (NEW.with_provider("openai", **misspelt), "unexpected keyword argument 'bas_url'"),
        (NEW.with_provider(bounded, base_url="http://x"), "with_provider: base_url must be given to"),
        (NEW.with_model("opnai:gpt-5"), "with_model: there is no dialect 'opnai'"),
        (NEW.with_model("openai:"), "with_model: a model is named PROVIDER:MODEL"),
        (NEW.with_model(" "), "with_model: it wants the name of a model"),
        (NEW.with_model(three), "with_model: it wants the name of a model"),
        (NEW.with_model("m", temprature=1), "with_model: a request has no option temprature"),
        (NEW.with_model("m", messages=[]), "with_model: a request has no option messages"),
        (NEW.with_dialect("opnai"), "with_dialect: there is no dialect 'opnai'"),
        (NEW.with_dialect(three), "with_dialect: Dialect or str is wanted, not int"),
        (NEW.with_backpressure(three), "with_backpressure: BackpressureConfig is wanted, not int"),
        (NEW.with_backpressure(controller=three), "StreamBackpressureController is wanted, not int"),
        (NEW.with_backpressure(BackpressureConfig(), controller=controller), "choose one"),
        (NEW.with_backpressure(controller=controller).with_provider(bounded), "of its own"),
        (NEW.with_backpressure(capacity=0), "the capacity must be at least 1, not 0"),
        (NEW.with_backpressure(capacity=anything), "int is wanted, not str"),
        (NEW.with_backpressure(capacity=True), "int is wanted, not bool"),
        (NEW.with_backpressure(capacity=4, low=4), "the low mark (4)"),
        (NEW.with_backpressure(low=anything), "int is wanted, not str"),
        (NEW.with_backpressure(overflow=anything), "Overflow is wanted, not str"),
        (NEW.with_backpressure(overflow=Overflow.LATEST), "LATEST would drop tokens"),
        (NEW.with_backpressure(weigh=three), "weigh must be a function, not int"),
        (NEW.gather(timedelta(0)), "gather: the period must be more than 0"),
        (NEW.gather(three), "gather: timedelta is wanted, not int"),
        (NEW.deliver_on(three), "SchedulerBase is wanted, not int"),
        (NEW.enable_metrics(three), "enable_metrics: StreamMetrics or MetricsRegistry is wanted, not int"),
        (NEW.add_transformer(three), "transformer 1 (int): a value of int is no machine"),
        (NEW.add_transformer(three, name="mine"), "transformer 1 (mine): a value of int is no"),
        (NEW.add_transformer(unfinished), "transformer 1 (lift): "),
        (NEW.low_memory().balanced(), "low_memory and balanced contradict each other"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_when_the_pipeline_is_built(builder: StreamPipelineBuilder, mistake: str) -> None:
    (told,) = mistakes_of(builder)

    assert mistake in told


WRONG: list[Step] = [
    lambda builder: builder.with_provider("opnai"),
    lambda builder: builder.with_model(""),
    lambda builder: builder.with_dialect("opnai"),
    lambda builder: builder.with_backpressure(three),
    lambda builder: builder.with_backpressure(capacity=0),
    lambda builder: builder.gather(timedelta(0)),
    lambda builder: builder.enable_metrics(three),
    lambda builder: builder.add_transformer(three),
    lambda builder: builder.low_memory().balanced(),
]
"""Each is one mistake."""


@given(st.lists(st.sampled_from(WRONG), unique=True))
def test_every_mistake_is_told_at_once(wrong: list[Step]) -> None:
    builder = NEW.add_transformer(ops.take(3))
    for step in wrong:
        builder = step(builder)

    if wrong:
        assert len(mistakes_of(builder)) == len(wrong)
    else:
        builder.build()


def test_a_mistake_that_was_put_right_is_not_told() -> None:
    builder = NEW.with_provider("opnai").with_backpressure(capacity=0).gather(timedelta(0))

    builder.with_provider("openai").with_backpressure(capacity=3).gather(timedelta(1)).build()


def test_a_key_that_cannot_be_used_is_not_told() -> None:
    (told,) = mistakes_of(NEW.with_provider("openai", api_key="secret\nkey"))
    misplaced: Any = {"api_key": "secret"}
    (also_told,) = mistakes_of(NEW.with_provider(misplaced))

    assert "secret" not in told + also_told


def test_showing_a_builder_shows_no_key() -> None:
    builder = NEW.with_provider("openai", api_key="secret").with_model("gpt-5").low_memory()

    shown = repr(builder) + repr(builder.build()) + repr(builder.config.__rich_repr__())

    assert "secret" not in shown
    assert "provider_options, model, presets" in shown
    assert "with nothing" in repr(NEW)


def test_a_preset_of_ones_own_is_a_value_like_any_other() -> None:
    mine = msgspec.structs.replace(PRESETS["balanced"], name="mine", capacity=3)
    config = msgspec.structs.replace(NEW.config, presets=(mine,))

    assert shown(StreamPipelineBuilder(config)) == "tokens → buffered(3)"
