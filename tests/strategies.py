"""Tokens for hypothesis."""

from hypothesis import strategies as st

from rxstream.tokens import (
    Citation,
    FinishReason,
    FunctionCall,
    Json,
    LogProbs,
    Media,
    RawEvent,
    ReasoningDelta,
    RefusalDelta,
    Retract,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    TokenLogProb,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolCallTruncated,
    UsageReport,
)

text = st.text(max_size=8)
small = st.integers(0, 2)
keys = st.sampled_from(["call-0", "call-1", "call-2"])
names = st.sampled_from(["search", "add"])
counts = st.none() | st.integers(0, 2**63)

json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(text, json_values, max_size=3)
log_probs = st.builds(
    TokenLogProb,
    text,
    st.floats(-100, 0),
    st.none() | st.lists(st.integers(0, 255), max_size=3),
    st.lists(st.builds(TokenLogProb, text, st.floats(-100, 0)), max_size=2),
)

BY_TYPE: dict[type[StreamToken], st.SearchStrategy[StreamToken]] = {
    StreamStart: st.builds(StreamStart, st.none() | text, st.none() | text, text),
    TextDelta: st.builds(TextDelta, text, small, small),
    ReasoningDelta: st.builds(ReasoningDelta, text, small, small, st.none() | text, st.none() | text, st.none() | text),
    RefusalDelta: st.builds(RefusalDelta, text, small),
    ToolCallStart: st.builds(ToolCallStart, keys, st.none() | text, names, small),
    ToolCallDelta: st.builds(ToolCallDelta, keys, text),
    ToolCall: st.builds(
        ToolCall,
        keys,
        st.none() | text,
        st.builds(FunctionCall, names, st.sampled_from(["{}", '{"a":[1]}', "7"])),
        st.none() | st.just("{}"),
        st.none() | text,
        st.booleans(),
    ),
    ToolCallTruncated: st.builds(ToolCallTruncated, keys, st.none() | text, names, text),
    Citation: st.builds(
        Citation,
        st.none() | text,
        st.none() | text,
        st.none() | text,
        st.none() | small,
        st.none() | small,
        small,
        small,
        st.none() | json_objects,
    ),
    Media: st.builds(Media, st.just("image/png"), st.binary(max_size=8), small, small),
    LogProbs: st.builds(LogProbs, st.lists(log_probs, max_size=2), st.lists(log_probs, max_size=2), small),
    UsageReport: st.builds(
        UsageReport,
        counts,
        counts,
        counts,
        counts,
        counts,
        counts,
        st.sampled_from(["provider", "estimated", "unknown"]),
        st.none() | json_objects,
    ),
    StreamEnd: st.builds(StreamEnd, st.sampled_from(FinishReason), st.none() | text, small, st.none() | json_objects),
    Retract: st.builds(Retract, st.integers(0, 20), small, st.none() | text),
    RawEvent: st.builds(RawEvent, text, text),
}
"""A strategy for every token of the union."""

tokens: st.SearchStrategy[StreamToken] = st.one_of(*BY_TYPE.values())
"""Any token."""

token_lists = st.lists(
    st.one_of(*(BY_TYPE[kind] for kind in (TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta)), tokens),
    max_size=20,
)
"""Any tokens in any order, deltas above all: no stream is like that, and no reader may break on it."""
