"""A chat in the terminal with Textual, to run and to copy from: `python -m rxstream.ui.textual [-m PROVIDER:MODEL]`."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import ClassVar

from rich.console import Console
from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Input, Label

from rxstream.ui.conversation import Ask, Conversation
from rxstream.ui.program import answerer
from rxstream.ui.view import AnswerView, Span, added

STYLES = {"question": "bold #8fb0ff", "reasoning": "italic #8087a2", "call": "#8fb0ff", "error": "bold #ff7b85"}


class Transcript(ScrollView, can_focus=False):
    """What is said, laid out as it grows: only the last row is ever laid out again."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Span] = []
        self.rows: list[Text] = [Text()]
        self.rich = Console()

    def write(self, spans: Iterable[Span], *, instead_of_all_after: int | None = None) -> None:
        """Append text, and follow it if the end is in sight."""
        is_at_end = self.is_vertical_scroll_end
        if instead_of_all_after is not None:
            del self.spans[instead_of_all_after:]
            self.lay_out_anew()
        for span in spans:
            self.spans.append(span)
            self.lay_out(span)
        self.virtual_size = Size(self.scrollable_content_region.width, len(self.rows))
        if is_at_end:
            self.scroll_end(animate=False, immediate=True, force=True)
        self.refresh()

    def lay_out(self, span: Span) -> None:
        """Append `span` to the last row, and break that up."""
        width = max(1, self.scrollable_content_region.width)
        last = self.rows.pop()
        last.append(span.text, STYLES.get(span.kind, ""))
        for line in last.split("\n", allow_blank=True):
            self.rows += line.wrap(self.rich, width) or [Text()]
            self.rows[-1].append(" " * (spaces_after(line) - spaces_after(self.rows[-1])))  # it drops those at the edge

    def lay_out_anew(self) -> None:
        """Break all rows up for the width that there is."""
        self.rows = [Text()]
        for span in self.spans:
            self.lay_out(span)

    def on_resize(self, _: events.Resize) -> None:
        """Follow the width of the terminal."""
        self.lay_out_anew()
        self.write([])

    def render_line(self, y: int) -> Strip:
        """Return one row of the screen."""
        row = y + self.scroll_offset.y
        text = self.rows[row] if row < len(self.rows) else Text()
        return Strip(text.render(self.rich)).simplify().adjust_cell_length(self.size.width).apply_style(self.rich_style)


def spaces_after(text: Text) -> int:
    """Return how many spaces `text` ends in."""
    return len(text.plain) - len(text.plain.rstrip(" "))


class ChatApp(App[None]):
    """A terminal that asks and shows the answer as it comes."""

    CSS = """
    Screen { background: #171a23; color: #e2e6f3; }
    Transcript { height: 1fr; padding: 1 1 1 3; background: #171a23; overflow-y: scroll; scrollbar-size-vertical: 1;
                 scrollbar-color: #3a4157; scrollbar-background: #171a23; }
    Input { background: #171a23; background-tint: #171a23; border: round #3a4157; margin: 0 1; }
    Input:focus { background-tint: #171a23; border: round #8fb0ff; }
    #status { color: #8087a2; padding: 0 3; height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "stop", "Stop")]

    def __init__(self, ask: Ask, name: str, aclose: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__()
        self.aclose = aclose
        self.conversation = Conversation(ask, self.draw)
        self.shown: list[Span] = []
        """What is drawn of the answer."""
        self.answer_at = 0
        """How many spans of the transcript are before the answer."""
        self.transcript = Transcript()
        self.status = Label(f"{name} answers · Esc stops it, Ctrl+Q leaves", id="status", markup=False)

    def compose(self) -> ComposeResult:
        """Put the parts on the screen."""
        yield self.transcript
        yield Input(placeholder="Ask something")
        yield self.status

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Ask what the user wrote."""
        question = event.value.strip()
        if question and not self.conversation.is_answering:
            event.input.clear()
            gap = "\n\n" if self.transcript.spans else ""
            self.transcript.write([Span("question", f"{gap}{question}\n")])
            self.answer_at = len(self.transcript.spans)
            self.shown = []
            self.conversation.ask(question)

    def action_stop(self) -> None:
        """Stop what is being answered."""
        self.conversation.stop()

    def draw(self, view: AnswerView) -> None:
        """Show the answer so far: what is new of it, if it only grew."""
        spans = view.spans()
        news = added(self.shown, spans)
        if news is None:
            self.transcript.write(spans, instead_of_all_after=self.answer_at)
        else:
            self.transcript.write(news)
        self.shown = spans
        self.status.update(view.status)

    async def on_unmount(self) -> None:
        """Close the connection if an answer is on its way, and those that are kept for later."""
        self.conversation.close()
        if self.aclose is not None:
            await self.aclose()


def main(arguments: Sequence[str] | None = None) -> None:
    """Open the chat; return when the user leaves it."""
    with answerer("rxstream.ui.textual", arguments) as who:
        ChatApp(who.ask, who.name, who.aclose).run()


if __name__ == "__main__":
    main()
