"""A chat window in Tk, to run and to copy from: `python -m rxstream.ui.tk [-m PROVIDER:MODEL]`."""

import tkinter as tk
from collections.abc import Sequence
from tkinter import font, ttk
from typing import Any, cast

from rxstream.schedulers import TkScheduler
from rxstream.ui.conversation import Ask, Conversation
from rxstream.ui.program import answerer
from rxstream.ui.view import AnswerView, Span, added

PAPER, INK, SOFT, EDGE = "#ffffff", "#1f2430", "#7a8194", "#e3e6ee"
ACCENT, PRESSED, BAND, ALARM = "#3b5bdb", "#2f49b5", "#edf1fd", "#c92a2a"
MARGIN = 22
LONG = 1_000
"""Characters of a paragraph that Tk lays out quickly: it does so anew, and whole, whenever the paragraph grows."""


class ChatWindow:
    """A window that asks and shows the answer as it comes."""

    def __init__(self, root: tk.Tk, ask: Ask, name: str) -> None:
        self.root = root
        self.conversation = Conversation(ask, self.draw, scheduler=TkScheduler(root))
        self.shown: list[Span] = []
        """What is drawn of the answer."""
        root.title(f"rxstream · {name}")
        root.geometry("680x560")
        root.minsize(360, 280)
        root.configure(background=PAPER)
        root.protocol("WM_DELETE_WINDOW", self.close)
        self.dress()
        self.transcript = tk.Text(root, wrap="word", state="disabled", borderwidth=0, highlightthickness=0)
        scrollbar = ttk.Scrollbar(root, command=cast(Any, self.transcript).yview, style="Slim.Vertical.TScrollbar")
        self.dress_transcript(scrollbar)
        foot = tk.Frame(root, background=PAPER, padx=MARGIN, pady=10)
        self.prompt = ttk.Entry(foot, font=self.font, style="Prompt.TEntry")
        self.button = ttk.Button(foot, text="Ask", command=self.press, style="Ask.TButton", width=7)
        self.status = ttk.Label(foot, text=f"{name} answers", style="Status.TLabel")
        self.transcript.grid(row=0, column=0, sticky="nsew", pady=(0, 10))
        scrollbar.grid(row=0, column=1, sticky="ns")
        tk.Frame(root, background=EDGE, height=1).grid(row=1, columnspan=2, sticky="ew")
        foot.grid(row=2, columnspan=2, sticky="ew")
        self.status.pack(side="bottom", anchor="w", pady=(6, 0))
        self.button.pack(side="right", fill="y", padx=(8, 0))
        self.prompt.pack(side="left", fill="x", expand=True)
        root.columnconfigure(0, weight=1)
        root.rowconfigure(0, weight=1)
        self.prompt.bind("<Return>", lambda _: self.send())
        self.prompt.bind("<Escape>", lambda _: self.conversation.stop())
        self.prompt.focus_set()

    def dress(self) -> None:
        """Set the fonts and the colours."""
        self.font = font.nametofont("TkTextFont", self.root).copy()
        self.font.configure(size=11)
        style = ttk.Style(self.root)
        style.theme_use("clam")
        style.configure("Prompt.TEntry", padding=8, bordercolor=EDGE, lightcolor=PAPER, fieldbackground=PAPER)
        style.map("Prompt.TEntry", bordercolor=[("focus", ACCENT)], lightcolor=[("focus", ACCENT)])
        style.configure("Ask.TButton", padding=8, background=ACCENT, foreground=PAPER, bordercolor=ACCENT)
        style.configure("Ask.TButton", lightcolor=ACCENT, darkcolor=ACCENT, relief="flat")
        style.map("Ask.TButton", background=[("active", PRESSED)], lightcolor=[("active", PRESSED)])
        style.configure("Status.TLabel", background=PAPER, foreground=SOFT)
        thumb = ("Vertical.Scrollbar.thumb", {"sticky": "nswe"})
        cast(Any, style).layout(
            "Slim.Vertical.TScrollbar", [("Vertical.Scrollbar.trough", {"sticky": "ns", "children": [thumb]})]
        )
        style.configure("Slim.Vertical.TScrollbar", troughcolor=PAPER, background=EDGE, bordercolor=PAPER, gripcount=0)
        style.configure("Slim.Vertical.TScrollbar", lightcolor=EDGE, darkcolor=EDGE, arrowsize=10)

    def dress_transcript(self, scrollbar: ttk.Scrollbar) -> None:
        """Set the looks of what is said."""
        text = self.transcript
        text.configure(font=self.font, background=PAPER, foreground=INK, padx=0, pady=0, spacing2=3, width=1, height=1)
        text.configure(yscrollcommand=scrollbar.set)
        small, oblique = self.font.copy(), self.font.copy()
        small.configure(size=6)
        oblique.configure(slant="italic")
        text.tag_configure("gap", font=small)
        text.tag_configure("question", background=BAND, spacing1=10, spacing3=10)
        text.tag_configure("reasoning", foreground=SOFT, font=oblique)
        text.tag_configure("call", foreground=ACCENT)
        text.tag_configure("error", foreground=ALARM)
        for tag in ("question", "text", "reasoning", "call", "error"):
            text.tag_configure(tag, lmargin1=MARGIN, lmargin2=MARGIN, rmargin=MARGIN)

    def press(self) -> None:
        """Ask, or stop what is being answered."""
        if self.conversation.is_answering:
            self.conversation.stop()
        else:
            self.send()

    def send(self) -> None:
        """Ask what the user wrote."""
        question = self.prompt.get().strip()
        if question and not self.conversation.is_answering:
            self.prompt.delete(0, "end")
            gap = "\n\n" if self.transcript.index("end-1c") != "1.0" else ""
            self.write([(gap, "gap"), (f"{question}\n", "question"), ("\n", "gap")])
            self.transcript.mark_set("answer", "end-1c")
            self.transcript.mark_gravity("answer", "left")
            self.shown = []
            self.conversation.ask(question)

    def draw(self, view: AnswerView) -> None:
        """Show the answer so far: what is new of it, if it only grew."""
        spans = view.spans()
        news = added(self.shown, spans)
        if news is None:
            self.transcript.configure(state="normal")
            self.transcript.delete("answer", "end")
            news = spans
        self.shown = spans
        self.write([(span.text, span.kind) for span in news])
        self.status.configure(text=view.status)
        self.button.configure(text="Ask" if view.is_over else "Stop")

    def write(self, pieces: list[tuple[str, str]]) -> None:
        """Append text with its tags, and follow it if the end is in sight."""
        is_at_end = self.transcript.dlineinfo("end-1c") is not None
        self.transcript.configure(state="normal")
        for text, tag in pieces:
            for start in range(0, len(text), LONG):
                self.transcript.insert("end", text[start : start + LONG], tag)
                if int(self.transcript.index("end-1c").split(".")[1]) > LONG:
                    self.transcript.insert("end-1c display linestart", "\n", tag)  # where it is wrapped anyway
        self.transcript.configure(state="disabled")
        if is_at_end:
            self.transcript.see("end")

    def close(self) -> None:
        """Close the window, and the connection if an answer is on its way."""
        self.conversation.close()
        self.root.destroy()


def main(arguments: Sequence[str] | None = None) -> None:
    """Open the window; return when it is closed."""
    with answerer("rxstream.ui.tk", arguments) as who:
        root = tk.Tk()
        ChatWindow(root, who.ask, who.name)
        root.mainloop()


if __name__ == "__main__":
    main()
