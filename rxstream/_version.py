"""The version of rxstream."""

__version__ = "0.1.0"
"""The only place: pyproject.toml reads it here. To ask `importlib.metadata` would take longer than a request does."""
