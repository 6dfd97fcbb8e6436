"""What Azure's filters say of a prompt and of the pieces of an answer, added up.

Each piece comes with a verdict on what its filters looked at last, by category:
`{"hate": {"filtered": false, "severity": "safe"}, "jailbreak": {"detected": false, …}}`.
"""

from typing import cast

from rxstream.dialects._values import is_shallow, within
from rxstream.tokens import Json

SEVERITIES = ("safe", "low", "medium", "high")


class ContentFilters:
    """The gravest verdict of each category on one choice."""

    def __init__(self) -> None:
        self.verdicts: dict[str, Json] = {}

    def note(self, results: Json) -> None:
        """Take what stands beside a piece; the later of two equal verdicts counts."""
        if not isinstance(results, dict) or not is_shallow(results):
            return
        for category, verdict in cast(dict[str, Json], results).items():
            if category not in self.verdicts or _gravity(verdict) >= _gravity(self.verdicts[category]):
                self.verdicts[category] = verdict


def _gravity(verdict: Json) -> tuple[bool, bool, int]:
    severity = within(verdict, "severity")
    rank = SEVERITIES.index(severity) if severity in SEVERITIES else 0
    return within(verdict, "filtered") is True, within(verdict, "detected") is True, rank
