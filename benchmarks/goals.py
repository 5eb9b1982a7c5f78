"""Goals of the benchmarks, and whether what was measured keeps to them."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Goal:
    """A measured value and its bound, one of the two."""

    name: str
    value: float
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"{self.name}: one bound, at_most or at_least")

    @property
    def holds(self) -> bool:
        """Whether the value is within its bound; NaN is not."""
        if self.at_most is not None:
            return bool(self.value <= self.at_most)
        return bool(self.value >= self.at_least)

    def __str__(self) -> str:
        word, bound = "at most", self.at_most
        if bound is None:
            word, bound = "at least", self.at_least
        verdict = "holds" if self.holds else "DOES NOT HOLD"
        return f"{self.name} {self.value:.3g} (goal: {word} {bound:g}) {verdict}"


def report(goals: list[Goal]) -> list[dict]:
    """Print a line for each goal; return them for the JSON of a benchmark."""
    for goal in goals:
        print(goal)
    return [
        {name: value for name, value in asdict(goal).items() if value is not None}
        | {"holds": goal.holds}
        for goal in goals
    ]
