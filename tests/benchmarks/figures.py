"""Figures of several rounds: their medians and spread, ratios within a round, and the targets they are held against."""

from statistics import median

from msgspec import Struct


class Table(Struct, frozen=True):
    """What each contender cost in each round: in one round they were measured in turn."""

    title: str
    unit: str
    reference: str
    """The contender that the others are compared with."""
    rounds: dict[str, list[float]]
    """By contender, a figure a round."""

    def ratio(self, name: str, reference: str) -> float | None:
        """Return the median of the rounds' ratios of one contender to another; `None` where one was left out.

        Machines drift: what two contenders cost in the same round says more than the medians of all rounds.
        """
        pairs = zip(self.rounds.get(name, []), self.rounds.get(reference, []), strict=False)
        ratios = [figure / other for figure, other in pairs if other]
        return median(ratios) if ratios else None

    def difference(self, name: str, reference: str) -> float | None:
        """Return the median of the rounds' differences of one contender to another; `None` where one was left out."""
        pairs = zip(self.rounds.get(name, []), self.rounds.get(reference, []), strict=False)
        differences = [figure - other for figure, other in pairs]
        return median(differences) if differences else None

    def lines(self) -> list[str]:
        """Return the table as it is printed."""
        lines = [f"{self.title}: {self.unit}, median (least to most), ratio to {self.reference}"]
        for name, figures in self.rounds.items():
            ratio = self.ratio(name, self.reference)
            spread = f"({min(figures):.2f} to {max(figures):.2f})"
            lines.append(f"  {name:42}{median(figures):11.2f}  {spread:24}" + (f"{ratio:9.2f} x" if ratio else ""))
        return lines


class Target(Struct, frozen=True):
    """What a figure has to be in one table: a contender's against another's, or by itself."""

    text: str
    title: str
    name: str
    reference: str | None
    at_most: float
    is_difference: bool = False
    """Whether the reference is subtracted, in the table's unit, instead of divided by."""


class Verdict(Struct, frozen=True):
    """A target, and what was measured."""

    target: Target
    measured: float | None
    """`None` where it was not."""

    @property
    def is_met(self) -> bool:
        return self.measured is not None and self.measured <= self.target.at_most

    def line(self) -> str:
        """Return the verdict as it is printed."""
        if self.measured is None:
            return f"  {'not measured':36}{self.target.text}"
        word = "met" if self.is_met else "NOT MET"
        return f"  {word:8}{self.measured:11.3f} of {self.target.at_most:<11.3f}  {self.target.text}"


def judge(targets: list[Target], tables: list[Table]) -> list[Verdict]:
    """Return what was measured for each target."""
    found = {table.title: table for table in tables}

    def measured(target: Target) -> float | None:
        table = found.get(target.title)
        if table is None:
            return None
        if target.reference is None:
            return median(table.rounds[target.name]) if target.name in table.rounds else None
        compare = table.difference if target.is_difference else table.ratio
        return compare(target.name, target.reference)

    return [Verdict(target, measured(target)) for target in targets]
