import pytest
from matplotlib.figure import Figure

from boldvision.report.panels import legend


@pytest.mark.parametrize(("length", "columns"), [(3, 6), (25, 2)])
def test_a_legend_is_as_wide_as_its_figure_at_most(length, columns):
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for number in range(6):
        axes.plot([0, 1], label=f"{number}" * length)
    legend(figure)
    (drawn,) = figure.legends
    assert drawn.get_window_extent().width <= figure.bbox.width
    assert drawn._ncols == columns
