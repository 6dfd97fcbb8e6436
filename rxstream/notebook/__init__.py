"""Streams in a notebook: watch answers come, side by side if there are several, and draw what was measured.

    from rxstream.notebook import display

    answer = await display(openai.stream("Why is the sky blue?", model="gpt-5"))

`display` and `compare` need IPython, the plots matplotlib: `pip install rxstream[notebook]`
brings both. What is shown is made of plain HTML and is stored with the notebook. Where
ipywidgets is installed there is a button that stops the stream.
"""

from rxstream.notebook.flow_watch import FlowSample, FlowWatch
from rxstream.notebook.live import Live, compare, display
from rxstream.notebook.page import Price
from rxstream.notebook.plots import plot_flow, plot_timing

__all__ = [
    "FlowSample",
    "FlowWatch",
    "Live",
    "Price",
    "compare",
    "display",
    "plot_flow",
    "plot_timing",
]
