"""Text cut up as a model would say it."""

from hypothesis import given
from hypothesis import strategies as st

from rxstream.simulator.pieces import pieces


@given(st.text() | st.text(alphabet="ab 日本🙂é\n\t\u3000.,"))
def test_the_pieces_joined_are_the_text(text: str) -> None:
    said = pieces(text)

    assert "".join(said) == text
    assert all(said)
    assert pieces(text) == said


def test_words_keep_the_space_before_them() -> None:
    assert pieces("The sky is blue.") == ["The", " sky", " is", " blue", "."]


def test_long_words_come_in_parts() -> None:
    said = pieces("incomprehensibilities")

    assert len(said) > 2
    assert max(map(len, said)) <= 9


def test_scripts_with_short_tokens_come_a_few_characters_at_a_time() -> None:
    assert max(map(len, pieces("流れは止まらない"))) == 2
