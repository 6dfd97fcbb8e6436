"""`redact`: what is secret is masked, wherever the deltas are cut."""

from collections import Counter

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st

from rxstream.operators import SECRETS, Redactor, redact
from rxstream.operators.redact import Secret
from rxstream.tokens import ReasoningDelta, StreamToken, TextDelta, ToolCallDelta
from tests.operators.cutting import cuts, deltas, filtered, joined, pieces, run

KEY = "AbC0" * 10
PEM = "-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES-128-CBC,0\n\n" + f"{KEY}\n" * 4 + "-----END RSA PRIVATE KEY-----"
EXAMPLES: dict[str, Secret] = {
    "bob.o'neil+news@mail.example.co.uk": "email",
    "a@b.co": "email",
    "under_score@example.org": "email",
    f"sk-{KEY}": "openai_key",
    f"sk-proj-{KEY}_-x": "openai_key",
    f"sk-ant-api03-{KEY}-": "anthropic_key",
    "AKIA" + "IOSFODNN7EXAMPLE": "aws_key",
    "ASIA" + "IOSFODNN7EXAMPLE": "aws_key",
    "AIza" + KEY[:35]: "google_key",
    f"ghp_{KEY[:36]}": "github_token",
    f"github_pat_{KEY}_{KEY}": "github_token",
    "Bearer eyJhbGciOi.eyJzdWIiOi.x-_~+/==": "bearer_token",
    "bearer  0123456789abcdef": "bearer_token",
    PEM: "private_key",
    PEM.replace("RSA ", "").replace("\n", "\\n"): "private_key",
    "4111111111111111": "card_number",
    "4111 1111 1111 1111": "card_number",
    "5500-0000-0000-0004": "card_number",
    "378282246310005": "card_number",
    "6304000000000000000": "card_number",
}
HARMLESS = [
    "bob at example.com",
    "@example",
    "bob@localhost",
    "a@b",
    "sk-learn and risk-averse",
    f"task-{KEY}",
    "AKIA is a prefix",
    "ghp_short",
    "the bearer of news",
    "Bearer token",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "4111 1111 1111 1112",
    "1700000000000",
    "41111111111111111111111111",
    "0.4111111111111111",
    "call 555 1234 and then 2024-01-02 10:11:12",
]

mixed = st.lists(
    st.sampled_from([*EXAMPLES, *HARMLESS]) | st.sampled_from(list(" \n@.-=<4")) | st.text(max_size=3), max_size=4
).map("".join)


@given(mixed, cuts | st.integers(1, 9).map(lambda size: list(range(0, 1_000, size))))
def test_where_the_text_is_cut_does_not_matter(text: str, cuts: list[int]) -> None:
    assert filtered(Redactor(), *pieces(text, cuts)) == filtered(Redactor(), text)


@pytest.mark.parametrize("size", [1, 3, 1_000])
@pytest.mark.parametrize(("secret", "kind"), EXAMPLES.items())
def test_secrets_are_masked_by_kind(secret: str, kind: Secret, size: int) -> None:
    text = f"It is '{secret}', {secret}\n"

    given = filtered(Redactor(), *pieces(text, range(0, len(text), size)))

    assert given == f"It is '[{kind}]', [{kind}]\n"


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_begins_like_a_secret_is_left_alone(text: str) -> None:
    assert filtered(Redactor(), *text) == text


@given(st.integers(10**11, 10**18 - 1).map(str), st.sampled_from("3456"))
def test_card_numbers_are_known_by_their_check_digit(digits: str, first: str) -> None:
    number = first + digits
    total = sum(sum(divmod(int(digit) * (1 + place % 2), 10)) for place, digit in enumerate(number[::-1]))

    is_masked = filtered(Redactor(["card_number"]), number) == "[card_number]"

    assert is_masked == (total % 10 == 0)


def test_a_date_after_a_card_number_stays() -> None:
    assert filtered(Redactor(), "4111 1111 1111 1111 12/26") == "[card_number] 12/26"


def test_what_is_no_part_of_an_address_goes_on_at_once() -> None:
    assert joined(Redactor().feed(TextDelta("mail to me, bob"))) == "mail to me, "


def test_a_key_that_is_cut_off_is_masked_as_far_as_it_came() -> None:
    assert filtered(Redactor(), *pieces(PEM[:150], range(0, 150, 7)), " and so on.") == "[private_key] and so on."
    assert filtered(Redactor(), PEM[:150]) == "[private_key]"


def test_a_key_without_end_is_not_held_without_end() -> None:
    machine = Redactor()

    given = [made for token in deltas([PEM[:100], *[KEY * 100] * 10]) for made in machine.feed(token)]

    assert joined(given).startswith("[private_key]")
    assert len(joined(given)) > 40_000 - 2 * 16_384


def test_only_the_kinds_that_are_named_are_masked() -> None:
    assert filtered(Redactor(["email"]), f"a@b.co 4111111111111111 sk-{KEY}") == f"[email] 4111111111111111 sk-{KEY}"
    assert filtered(Redactor([]), "a@b.co") == "a@b.co"


def test_the_mask_and_the_counts_are_for_the_caller() -> None:
    counts = Counter[str]()
    given: list[StreamToken] = []
    operator = redact(["email", "card_number"], mask="<{kind}{}>", counts=counts)

    reactivex.of(TextDelta("a@b.co, 4111111111111111, c@d.co")).pipe(operator).subscribe(given.append)

    assert joined(given) == "<email{}>, <card_number{}>, <email{}>"
    assert counts == {"email": 2, "card_number": 1}


def test_thinking_is_included_and_arguments_only_if_wanted() -> None:
    tokens: list[StreamToken] = [ReasoningDelta("a@b.co "), ToolCallDelta("k", '"a@b.co"')]

    assert run(Redactor(), tokens) == [ReasoningDelta("[email] "), tokens[1]]
    assert run(Redactor(reasoning=False, tool_arguments=True), tokens) == [tokens[0], ToolCallDelta("k", '"[email]"')]


def test_every_kind_has_an_example() -> None:
    assert set(EXAMPLES.values()) == set(SECRETS)


def test_a_kind_that_is_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="known are"):
        redact(["pin"])  # type: ignore[list-item]  # what it is about
