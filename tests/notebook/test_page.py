"""What is shown of an answer."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.errors import TruncatedStreamError
from rxstream.messages import AssembledMessage
from rxstream.notebook.markdown import to_html
from rxstream.notebook.page import AnswerPage, Price, side_by_side
from rxstream.taps import MetricsSummary
from rxstream.tokens import (
    FinishReason,
    FunctionCall,
    ReasoningDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)

FIGURES = MetricsSummary(seconds=1.5, time_to_first_content=0.25, tokens_per_second=40.0, content_tokens=50)
EVIL = '<script>alert(1)</script><img src=x onerror="alert(1)">'


def view_of(*tokens: StreamToken, price: Price | None = None) -> AnswerPage:
    view = AnswerPage(price=price)
    view.extend(tokens)
    return view


@given(text=st.text(alphabet="<>&\"'`[]()!*_\\\n ascript:=x/~|-#1", max_size=80))
def test_no_text_of_an_answer_becomes_a_tag_that_markdown_has_not(text: str) -> None:
    shown = to_html(text)

    assert "<script" not in shown
    assert "<img" not in shown
    assert "javascript:" not in "".join(part.split('"')[0] for part in shown.split('href="')[1:])


@pytest.mark.parametrize(
    "view",
    [
        view_of(TextDelta(EVIL)),
        view_of(ReasoningDelta(EVIL)),
        view_of(ToolCallStart("a", EVIL, EVIL), ToolCallDelta("a", EVIL)),
        view_of(ToolCall("a", "1", FunctionCall("f", msgspec.json.encode({"x": EVIL}).decode()))),
        AnswerPage(EVIL),
    ],
    ids=["text", "thinking", "half a call", "a whole call", "the name"],
)
def test_what_an_answer_says_is_escaped(view: AnswerPage) -> None:
    shown = view.html(FIGURES)

    assert "<script" not in shown
    assert "<img" not in shown
    assert "&lt;script&gt;" in shown


def test_an_error_is_shown_escaped_and_is_in_the_message() -> None:
    view = view_of(TextDelta("Half"))

    view.end("failed", TruncatedStreamError(EVIL))

    assert "<b>TruncatedStreamError</b> &lt;script&gt;" in view.html(FIGURES)
    assert "TruncatedStreamError" in view.plain(FIGURES)
    assert view.message.error is not None


def test_markdown_is_rendered_as_far_as_it_has_come() -> None:
    assert to_html("# Sky\n\n**bl") == "<h1>Sky</h1>\n<p>**bl</p>\n"
    assert to_html("```python\nx = 1") == '<pre><code class="language-python">x = 1</code></pre>\n'
    assert "<td>1</td>" in to_html("| a |\n|---|\n| 1 |")


def test_an_image_is_no_more_than_a_link() -> None:
    shown = to_html("![secret](http://elsewhere.invalid/?q=secret)")

    assert "<img" not in shown


def test_thinking_is_open_until_the_answer_begins() -> None:
    thinking = view_of(ReasoningDelta("Let me see."))
    answering = view_of(ReasoningDelta("Let me see."), TextDelta("Blue."))

    assert "<details open><summary>thinking…" in thinking.html(FIGURES)
    assert "<details><summary>thought (3 words)" in answering.html(FIGURES)


def test_a_call_is_a_card_while_it_grows_and_when_it_is_whole() -> None:
    growing = view_of(ToolCallStart("a", "id-1", "get_weather"), ToolCallDelta("a", '{"city": "Os'))
    whole = view_of(ToolCall("a", "id-1", FunctionCall("get_weather", '{"city":"Oslo"}')))

    assert "{&quot;city&quot;: &quot;Os</pre>" in growing.html(FIGURES)
    assert "{\n  &quot;city&quot;: &quot;Oslo&quot;\n}" in whole.html(FIGURES)


def test_the_figures_say_first_token_rate_and_estimates() -> None:
    view = view_of(TextDelta("Hi"), price=Price(1.0, 10.0))

    assert view.figures(view.message, FIGURES) == "first token 250 ms · 40 tokens/s · ≈ 50 out · ≈ $0.0005 · 1.50 s"


def test_the_figures_say_what_the_service_counted() -> None:
    view = view_of(TextDelta("Hi"), price=Price(1.0, 10.0, "€"))
    known = msgspec.structs.replace(FIGURES, input_tokens=1_000, output_tokens=100, pauses=2, seconds_paused=0.5)

    said = view.figures(view.message, known)

    assert said == "first token 250 ms · 40 tokens/s · 1000 in, 100 out · €0.002 · 1.50 s · paused 0.50 s"


def test_the_service_knows_the_cost_best() -> None:
    view = view_of(UsageReport(1, 2, raw={"cost": 0.25}), StreamEnd(FinishReason.STOP), price=Price(1.0, 1.0))

    assert "$0.25" in view.figures(view.message, FIGURES)


def test_before_the_first_token_the_wait_is_shown() -> None:
    assert "waiting for 2.0 s" in AnswerPage().html(MetricsSummary(seconds=2.0))


def test_each_answer_of_several_has_a_column() -> None:
    shown = side_by_side([view_of(TextDelta("one")).html(FIGURES), view_of(TextDelta("two")).html(FIGURES)])

    assert shown.count("flex:1 1") == 2
    assert shown.index("one") < shown.index("two")


def test_a_plain_view_has_everything_too() -> None:
    view = view_of(TextDelta("Hi"), ToolCall("a", None, FunctionCall("f", "{}")), StreamEnd(FinishReason.STOP))

    assert view.plain(FIGURES).splitlines()[:2] == ["Hi", "f({})"]
    assert isinstance(view.message, AssembledMessage)
