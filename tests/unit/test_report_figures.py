import h5py
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from report_data import (
    SHIFTS,
    TIMING,
    TR_S,
    WINDOWS,
    another_decoder,
    curve_rows,
    evaluation,
    moving_windows,
    picture,
    trial_table,
)

from boldvision.errors import UserError
from boldvision.report import figure_4, pictures, results, style
from boldvision.report.figure_5 import figure_5
from boldvision.report.temporal_generalization import (
    counted,
    matrix,
    temporal_generalization,
)


def test_figure_5_shows_values_intervals_and_chance(tmp_path):
    evaluations = results.read(curve_rows(tmp_path))
    figure = figure_5(evaluations, ["alexnet_2", "ssim"], WINDOWS, TIMING)
    alexnet, ssim = figure.axes
    general, specialized = (
        next(x for x in alexnet.lines if x.get_label() == label)
        for label in ("General", "Specialized")
    )
    assert general.get_xdata() == pytest.approx([(s + 8) * 4 / 3 for s in SHIFTS])
    expected = [100 * evaluations[0].score("alexnet_2", w).value for w in evaluations[0].scores]
    assert general.get_ydata() == pytest.approx(expected)
    assert len(specialized.get_xdata()) == 5
    assert general.get_linestyle() != specialized.get_linestyle()
    assert general.get_marker() != specialized.get_marker()
    for axes, expected in ((alexnet, 50), (ssim, 0.05)):
        (chance,) = (x for x in axes.lines if x.get_label() == "Chance")
        assert chance.get_ydata() == pytest.approx([expected] * 16)
    band, bars = alexnet.collections
    score = evaluations[0].score("alexnet_2", "main")
    ends = band.get_paths()[0].vertices[:, 1]
    assert np.isclose(ends, 100 * score.high).any()
    assert len(bars.get_segments()) == 5


def test_figures_are_of_one_subject(tmp_path):
    rows = curve_rows(tmp_path)
    rows[-1]["subject"] = "subj02"
    with pytest.raises(UserError, match="subj01, subj02"):
        results.note(results.read(rows), "miniature", simulated=True)


def test_matrix_is_ordered_by_time(tmp_path):
    evaluations = results.read(curve_rows(tmp_path, tested=SHIFTS)[::-1])
    values, training, test = matrix(evaluations, "alexnet_2", WINDOWS)
    assert training == ["main-3", "main-1", "main", "main+1", "main+3"]
    assert test[0] == "main-8"
    assert test[-1] == "main+7"
    by_window = {e.window: e for e in evaluations}
    assert values[0, 7] == 100 * by_window["main-3"].score("alexnet_2", "main-1").value
    assert [test[i] for i in values.argmax(axis=1)] == training


def test_a_matrix_says_among_how_many_images_it_identifies(tmp_path):
    rows = curve_rows(tmp_path, tested=SHIFTS)
    figure = temporal_generalization(results.read(rows), ["alexnet_2"], WINDOWS, "note")
    assert figure.get_suptitle() == "note\nEach cell: 40 trials of 40 images"
    scores = pd.read_parquet(rows[0]["parquet"])
    late = scores["test_window"] == "main+7"
    scores[~(late & (scores["image_id"] == 1))].to_parquet(rows[0]["parquet"])
    assert counted(results.read(rows), "ssim") == "Each cell: 39 to 40 trials of 39 to 40 images"


def test_matrix_is_empty_where_a_model_was_not_tested(tmp_path):
    evaluations = results.read(curve_rows(tmp_path))
    values, _, _ = matrix(evaluations, "alexnet_2", WINDOWS)
    assert np.isfinite(values).sum() == 16 + 4


def test_same_figure_same_bytes(tmp_path):
    evaluations = results.read(curve_rows(tmp_path, tested=SHIFTS))
    written = []
    for place in ("a", "b"):
        figure = temporal_generalization(evaluations, ["alexnet_2"], WINDOWS, "note")
        pdf, png = tmp_path / place / "f.pdf", tmp_path / place / "f.png"
        style.save(figure, pdf, png)
        written.append((pdf.read_bytes(), png.read_bytes()))
    assert written[0] == written[1]


def test_chosen_trials_have_both_neighbours():
    trials = trial_table()
    everything = set(trials["trial"])
    moments = figure_4.choose(trials, everything, 16, 4.0)
    # of 12 trials of a run, the first, the last and the two beside the blank have no neighbour
    assert {m.trial % 12 for m in moments} == {1, 4, 5, 6, 7, 8, 9, 10}
    assert all((m.previous, m.next) == (m.current - 1, m.current + 1) for m in moments)
    few = figure_4.choose(trials, everything, 3, 4.0)
    assert [m.trial for m in few] == sorted(m.trial for m in few)
    assert len({m.trial for m in few}) == 3


def test_only_reconstructed_trials_are_chosen():
    moments = figure_4.choose(trial_table(), {5, 6, 7}, 2, 4.0)
    assert {m.trial for m in moments} <= {5, 6, 7}
    with pytest.raises(UserError, match="3 trials wanted, 1"):
        figure_4.choose(trial_table(), {5}, 3, 4.0)


def test_cells_without_a_model_say_so(tmp_path):
    rows, trials, stimuli = moving_windows(tmp_path)
    cells = figure_4.cells(rows, [-3, -2, -1, 0, 1, 2, 3])
    assert sorted(cells[0].files) == [-3, -2, -1, 0, 1, 2, 3]
    assert sorted(cells[1].files) == [-3, -1, 0, 1, 3]
    assert cells[1].files[0] == cells[0].files[0]
    assert cells[1].files[3] == tmp_path / "Specialized" / "main+3" / "main+3.h5"
    moments = figure_4.choose(
        pd.read_parquet(trials), figure_4.reconstructed_trials(cells), count=1, trial_s=4.0
    )
    figure = figure_4.figure_4(
        cells, moments, stimuli, "main", WINDOWS, TR_S, TIMING, blur=False, note="note"
    )
    texts = [t.get_text() for axes in figure.axes for t in axes.texts]
    assert texts.count("not trained\nin this scope") == 2
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(shown) == 3 + 7 + 5
    assert np.array_equal(shown[1], picture(moments[0].current, 48))
    assert np.array_equal(shown[3], picture(moments[0].previous, 32))
    assert figure.axes[-7].get_xlabel() == "−1.3 to\n6.7 s"


def test_a_lacking_trial_is_named(tmp_path):
    path = tmp_path / "main.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((1, 4, 4, 3), np.uint8)
        file["trial"] = [7]
    with pytest.raises(UserError, match=r"main.h5: expected trial \[8\]"):
        pictures.read_images(path, "trial", [8])


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("standard", "subj01; simulated"),
        ("time_resolved", "subj01; time-resolved split as published\nsimulated"),
        ("time_resolved_leakage_free", "subj01; leakage-free time-resolved split\nsimulated"),
    ],
)
def test_a_note_says_what_split_it_is(split, said, tmp_path):
    evaluations = results.read(curve_rows(tmp_path))
    assert results.note(evaluations, "miniature", True, split) == (
        f"{said} dataset miniature; tiny generator; not comparable with the paper"
    )


def test_a_note_fits_the_width_of_the_figure():
    figure = Figure(figsize=(style.WIDTH_IN, 2))
    style.note(figure, f"first\n{'long ' * 50}")
    lines = figure.get_suptitle().splitlines()
    assert lines[0] == "first"
    assert len(lines) == 4
    assert max(map(len, lines)) <= style.NOTE_WIDTH


def both_decoders(folder, tested=None):
    rows = curve_rows(folder / "one", tested=tested, metrics=["ssim"])
    return [*rows, *another_decoder(folder / "other", tested=tested)]


@pytest.mark.survives(
    "results",
    "A third row of another decoder in figure 5",
    "It is a curve of its own, by its own name",
)
def test_figure_5_has_a_curve_per_row(tmp_path):
    evaluations = results.read(both_decoders(tmp_path))
    (axes,) = figure_5(evaluations, ["ssim"], WINDOWS, TIMING).axes
    lines = {line.get_label(): line for line in axes.lines}
    points = {row: len(lines[row].get_xdata()) for row in ("General", "Specialized")}
    assert points == {"General": 16, "Specialized": 5}
    assert len(lines["Ridge"].get_xdata()) == 16
    assert len(lines["Ridge, each shift"].get_xdata()) == 3
    ridge = next(e for e in evaluations if e.row == "Ridge")
    at_main = list(lines["Ridge, each shift"].get_xdata()).index(pytest.approx(32 / 3))
    expected = ridge.score("ssim").value
    assert lines["Ridge, each shift"].get_ydata()[at_main] == pytest.approx(expected)
    assert "Trained here (General, Ridge)" in lines


@pytest.mark.survives(
    "results",
    "A third row of another decoder in figure 4",
    "It is a line of pictures of its own; a row with nothing to show is an error",
)
def test_figure_4_has_a_line_of_pictures_per_row(tmp_path):
    rows, trials, stimuli = moving_windows(tmp_path, rows=both_decoders(tmp_path / "metrics"))
    cells = figure_4.cells(rows, [-1, 0, 1, 2])
    assert [cell.name for cell in cells] == ["General", "Specialized", "Ridge", "Ridge, each shift"]
    assert [sorted(cell.files) for cell in cells[2:]] == [[-1, 0, 1, 2], [-1, 0, 2]]
    assert cells[3].files[0] == tmp_path / "Ridge" / "main" / "main.h5"
    assert cells[1].files[0] == tmp_path / "General" / "main" / "main.h5"
    moments = figure_4.choose(pd.read_parquet(trials), figure_4.reconstructed_trials(cells), 1, 4.0)
    figure = figure_4.figure_4(cells, moments, stimuli, "main", WINDOWS, TR_S, TIMING, blur=False)
    texts = [t.get_text() for axes in figure.axes for t in axes.texts]
    assert texts.count("not trained\nin this scope") == 2
    assert "Ridge, each\nshift" in texts
    with pytest.raises(UserError, match=r"figure 4: row 'Specialized'.*tested in one of main-8, f"):
        figure_4.cells(rows, [-8])


@pytest.mark.survives(
    "results",
    "A third row of another decoder in the matrices of temporal_generalization",
    "Its run has a matrix of its own; two models of one run and window are an error",
)
def test_a_run_has_a_matrix_of_its_own(tmp_path):
    evaluations = results.read(both_decoders(tmp_path, tested=SHIFTS))
    figure = temporal_generalization(evaluations, ["ssim"], WINDOWS)
    matrices = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in matrices] == [
        "General, Specialized",
        "Ridge, Ridge, each shift",
    ]
    assert [len(axes.images[0].get_array()) for axes in matrices] == [5, 3]
    own = [e for e in evaluations if e.run == "ridge_time_resolved"]
    values, _, _ = matrix(own, "ssim", WINDOWS)
    assert np.array_equal(matrices[1].images[0].get_array(), values)
    again = evaluation(tmp_path / "again", "Again", metrics=["ssim"], run=own[0].run)
    with pytest.raises(UserError, match="rows 'Ridge' and 'Again': expected one model of ridge"):
        matrix([*own, *results.read([again])], "ssim", WINDOWS)
