"""The documentation site: its pages lie here, the tour beside it, the reference in the docstrings.

sphinx-build -W --keep-going -c notebooks/site notebooks DIRECTORY
"""

import re
from importlib.metadata import version as version_of

from sphinx.application import Sphinx

project = "rxstream"
author = "rxstream contributors"
copyright = f"2026, {author}"
release = version = version_of("rxstream")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
root_doc = "site/index"
exclude_patterns = ["**/.ipynb_checkpoints"]
html_theme = "furo"
html_title = "rxstream"

nb_execution_mode = "off"  # the tests run the tour; the site shows the outputs that are stored
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
suppress_warnings = [
    "mystnb.unknown_mime_type",  # a widget's view has a plain one beside it
    "ref.python",  # a builtin such as `bytes` is the name of a field as well
]
default_role = "code"  # docstrings put code in single backquotes, as Markdown does

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
add_module_names = False


def _apart(quoted: re.Match[str]) -> str:
    code, letter = quoted.groups()
    return f"{code}\\ {letter}" if letter else code


def as_rst(_app: object, _what: str, _name: str, _thing: object, _options: object, lines: list[str]) -> None:
    """Turn a docstring of ours into RST: indented blocks are code, and a letter may follow a backquote."""
    written: list[str] = []
    is_code = False
    for line in lines:
        if line.startswith("    ") and not is_code and not (written and written[-1].strip()):
            written += ["::", ""]
            is_code = True
        elif line and not line.startswith(" "):
            is_code = False
        written.append(line if is_code else re.sub(r"(`[^`]+`)(\w?)", _apart, line))
    lines[:] = written


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", as_rst)
