"""What it takes to write a transformer of one's own, and to test it: a class of ten lines, a test of ten lines."""

import reactivex

from rxstream import StreamToken, StreamTransformer, TextDelta, ToolCallStart, lift


class Unbroken(StreamTransformer):
    """Gives text line by line: a line is held until it ends, or until something else comes."""

    def __init__(self) -> None:
        self.held = ""

    def feed(self, token: StreamToken) -> list[StreamToken]:
        if not isinstance(token, TextDelta):
            return [*self.flush(), token]
        *lines, self.held = (self.held + token.text).split("\n")
        return [TextDelta(line + "\n") for line in lines]

    def flush(self) -> list[StreamToken]:
        held, self.held = self.held, ""
        return [TextDelta(held)] if held else []


def test_text_comes_line_by_line() -> None:
    call = ToolCallStart("call-0", None, "add")
    stream = reactivex.of(TextDelta("One\nT"), TextDelta("wo\nThr"), call, TextDelta("ee"))
    heard: list[StreamToken] = []

    stream.pipe(lift(Unbroken)).subscribe(heard.append)

    assert heard == [TextDelta("One\n"), TextDelta("Two\n"), TextDelta("Thr"), call, TextDelta("ee")]
