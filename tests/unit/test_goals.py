"""Goals of the benchmarks."""

import math

import pytest

from benchmarks.goals import Goal, report


@pytest.mark.parametrize(
    ("goal", "line"),
    [
        (Goal("time", 1.12, at_most=1.3), "time 1.12 (goal: at most 1.3) holds"),
        (Goal("time", 1.31, at_most=1.3), "time 1.31 (goal: at most 1.3) DOES NOT HOLD"),
        (Goal("rate", 512.3, at_least=500), "rate 512 (goal: at least 500) holds"),
        (Goal("rate", math.nan, at_least=500), "rate nan (goal: at least 500) DOES NOT HOLD"),
    ],
)
def test_a_goal_holds_or_not(goal, line, capsys):
    [entry] = report([goal])
    assert capsys.readouterr().out == line + "\n"
    assert entry["holds"] is line.endswith(" holds")
    assert len(entry) == 4


def test_a_goal_has_one_bound():
    with pytest.raises(ValueError, match="one bound"):
        Goal("time", 1.0)
