"""`Conversation`: turn after turn, stopped, failed, or gone on with from within a view."""

from collections.abc import Callable

import reactivex
from reactivex import Observable

from rxstream.errors import OverloadedError
from rxstream.messages import Message, TextPart, ToolCallPart
from rxstream.tokens import FinishReason, FunctionCall, ReasoningDelta, StreamEnd, StreamToken, TextDelta, ToolCall
from rxstream.ui import AnswerView, Conversation, Phase
from tests.demand import Faucet
from tests.virtual_loop import virtual_time

END = StreamEnd(FinishReason.STOP)


class Talk:
    """A conversation whose answers the test gives."""

    def __init__(self, on_view: "Callable[[Talk, AnswerView], object] | None" = None) -> None:
        self.asked: list[list[Message]] = []
        self.answers: list[Faucet[StreamToken]] = []
        self.views: list[AnswerView] = []

        def ask(messages: list[Message]) -> Observable[StreamToken]:
            self.asked.append(messages)
            self.answers.append(Faucet())
            return self.answers[-1].stream

        def draw(view: AnswerView) -> None:
            self.views.append(view)
            if on_view is not None:
                on_view(self, view)

        self.conversation = Conversation(ask, draw)

    def answer(self, *tokens: StreamToken) -> None:
        self.answers[-1].push(*tokens)
        self.answers[-1].complete()


def user(text: str) -> Message:
    return Message("user", text)


@virtual_time
async def test_each_question_is_asked_after_the_turns_before_it() -> None:
    talk = Talk()

    talk.conversation.ask("Hello?")
    talk.answer(ReasoningDelta("Hm", signature="proof"), TextDelta("Hi!"), END)
    talk.conversation.ask("And?")

    hello, answer, question = talk.asked[-1]
    assert (hello, question) == (user("Hello?"), user("And?"))
    assert answer == talk.views[-2].message.as_message()
    assert len(answer.parts) == 2


@virtual_time
async def test_what_came_before_it_was_stopped_is_a_turn_and_the_connection_is_closed() -> None:
    talk = Talk()
    talk.conversation.ask("Hello?")
    talk.answers[0].push(ReasoningDelta("Hm"), TextDelta("Hi"))
    assert talk.conversation.is_answering

    talk.conversation.stop()

    assert talk.answers[0].disposed == 1
    assert not talk.conversation.is_answering
    assert talk.views[-1].phase is Phase.STOPPED
    talk.conversation.stop()
    assert [view.phase for view in talk.views].count(Phase.STOPPED) == 1


@virtual_time
async def test_half_an_answer_is_remembered_by_its_text_alone() -> None:
    talk = Talk()
    call = ToolCall("k", "id", FunctionCall("look", "{}"))

    talk.conversation.ask("Hello?")
    talk.answers[0].push(TextDelta("Hi"))
    talk.answers[0].push(ReasoningDelta("Hm"), call)
    talk.answers[0].fail(OverloadedError("busy"))

    assert talk.conversation.messages == [user("Hello?"), Message("assistant", "Hi")]


@virtual_time
async def test_a_question_without_an_answer_is_no_turn() -> None:
    talk = Talk()

    talk.conversation.ask("Hello?")
    talk.answers[0].fail(OverloadedError("busy"))
    talk.conversation.ask("Hello??")
    talk.conversation.stop()
    talk.conversation.ask("Anybody?")

    assert talk.asked == [[user("Hello?")], [user("Hello??")], [user("Anybody?")]]


@virtual_time
async def test_a_new_question_stops_what_is_being_answered() -> None:
    talk = Talk()
    talk.conversation.ask("Hello?")
    talk.answers[0].push(TextDelta("Hi"))

    talk.conversation.ask("Never mind")
    talk.answers[0].push(TextDelta(" there"))
    talk.answer(TextDelta("Fine"), END)

    assert talk.answers[0].disposed == 1
    assert [view.text for view in talk.views if view.is_over] == ["Hi", "Fine"]
    assert [view.phase for view in talk.views if view.is_over] == [Phase.STOPPED, Phase.DONE]


@virtual_time
async def test_results_of_tools_may_be_sent_from_within_the_last_view() -> None:
    def look(talk: Talk, view: AnswerView) -> None:
        if view.is_over and view.tool_calls:
            talk.conversation.ask([Message.tool_result(call.id, "clear", name=call.name) for call in view.tool_calls])

    talk = Talk(look)

    talk.conversation.ask("Is it raining?")
    talk.answer(ToolCall("k", "id", FunctionCall("look", "{}"), "{}"), StreamEnd(FinishReason.TOOL_CALLS))
    talk.answer(TextDelta("No."), END)

    question, call, result = talk.asked[1]
    assert question == user("Is it raining?")
    assert isinstance(call.parts[0], ToolCallPart)
    assert result == Message.tool_result("id", "clear", name="look")
    assert talk.conversation.messages[-1] == Message("assistant", [TextPart("No.")])


@virtual_time
async def test_a_closed_window_hears_nothing_more() -> None:
    talk = Talk()
    talk.conversation.ask("Hello?")
    count = len(talk.views)

    talk.conversation.close()
    talk.answers[0].push(TextDelta("Hi"))
    talk.conversation.close()

    assert len(talk.views) == count
    assert talk.answers[0].disposed == 1


@virtual_time
async def test_stopping_in_the_very_first_view_closes_what_is_only_about_to_open() -> None:
    def stop(talk: Talk, view: AnswerView) -> None:
        if view.phase is Phase.WAITING:
            talk.conversation.stop()

    talk = Talk(stop)

    talk.conversation.ask("Hello?")

    assert [view.phase for view in talk.views] == [Phase.WAITING, Phase.STOPPED]
    assert talk.answers[0].subscribed == talk.answers[0].disposed
    assert not talk.conversation.is_answering


@virtual_time
async def test_nor_is_anything_shown_that_came_before_it_could_be_closed() -> None:
    phases: list[Phase] = []

    def draw(view: AnswerView) -> None:
        phases.append(view.phase)
        if view.phase is Phase.WAITING:
            conversation.stop()

    conversation = Conversation(lambda _: reactivex.return_value(TextDelta("too late")), draw)

    conversation.ask("Hello?")

    assert phases == [Phase.WAITING, Phase.STOPPED]
