"""Gemini at the address of a project of Google Cloud, with tokens that expire."""

import itertools

from rxstream.messages import Tool
from rxstream.providers import AiProvider
from rxstream.simulator import FAST, Script, ScriptedCall, Settings, Simulator
from rxstream.sinks import collect
from rxstream.tokens import FinishReason

PROJECT = "/v1/projects/p/locations/europe-west4/publishers/google"
STREAMED = {"toolConfig": {"functionCallingConfig": {"streamFunctionCallArguments": True}}}


async def test_vertex_is_the_same_service_elsewhere_with_a_fresh_token_for_each_request() -> None:
    tokens = itertools.count()
    async with (
        Simulator(Settings(speed=FAST)) as simulator,
        AiProvider("vertex", base_url=simulator.url + PROJECT, api_key=lambda: f"ya29.{next(tokens)}") as vertex,
    ):
        simulator.expect(Script(text="Hi", reasoning="Hm."))
        answer = await collect(vertex.stream("Why?", model="gemini-x"))
        count = await vertex.count_tokens("Why is the sky blue?", model="gemini-x")
        models = await vertex.list_models()

        assert (answer.text, answer.reasoning, answer.provider) == ("Hi", "Hm.", "vertex")
        assert count > 3
        assert "simulated" in models
        assert next(tokens) == 3
        assert [(request.method, request.path) for request in simulator.requests] == [
            ("POST", f"{PROJECT}/models/gemini-x:streamGenerateContent"),
            ("POST", f"{PROJECT}/models/gemini-x:countTokens"),
            ("GET", "/v1beta1/publishers/google/models"),
        ]


async def test_vertex_streams_arguments_if_asked() -> None:
    arguments = {"at": "the sky", "how": {"often": [1, None, True]}}
    async with (
        Simulator(Settings(speed=FAST)) as simulator,
        AiProvider("vertex", base_url=simulator.url + PROJECT, api_key="ya29") as vertex,
    ):
        simulator.expect(Script(tool_calls=(ScriptedCall("look", arguments),)))
        answer = await collect(vertex.stream("Why?", model="gemini-x", tools=[Tool("look")], extra=STREAMED))

    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("look", arguments)]
    assert answer.reason is FinishReason.TOOL_CALLS
