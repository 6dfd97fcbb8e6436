"""The end of a terminal's screen that is drawn again and again, beneath rows that stay.

One write a frame, between the marks for synchronized output, so that nothing flickers where
a terminal knows them. The rest is what every terminal has known for forty years: up, and erase.
"""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.segment import ControlType, Segment, Segments

from rxstream.cli._markdown import Row

BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"


class LiveArea:
    """Rows that stay, and beneath them rows that the next frame replaces."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: Sequence[Row] = []

    def show(self, settled: Sequence[Row], live: Sequence[Row] = ()) -> None:
        """Put `settled` where the last live rows were, and `live` beneath; of these, as many as the screen takes."""
        live = live[-max(1, self._console.height - 1) :]
        if not settled and list(live) == list(self._shown):
            return
        rows = [*settled, *live]
        segments = [_control(BEGIN), _control(self._erasure())]
        for number, row in enumerate(rows):
            segments += row
            if number < len(rows) - 1 or not live:
                segments.append(Segment.line())
        segments.append(_control(END))
        self._shown = live
        with self._console:  # one write
            self._console.print(Segments(segments), end="", crop=False, overflow="ignore", no_wrap=True)
        self._console.file.flush()

    def _erasure(self) -> str:
        """What erases the live rows; those that were wider than the window is now have been wrapped by the terminal."""
        if not self._shown:
            return ""
        width = max(1, self._console.width)
        lines = sum(max(1, -(-_cells(row) // width)) for row in self._shown)
        return "\r" + (f"\x1b[{lines - 1}A" if lines > 1 else "") + "\x1b[J"


def _cells(row: Iterable[Segment]) -> int:
    return sum(segment.cell_length for segment in row)


def _control(codes: str) -> Segment:
    return Segment(codes, None, [(ControlType.CARRIAGE_RETURN,)])
