import numpy as np
import pytest
from figure_data import model, two_subjects
from report_data import picture

from boldvision.errors import UserError
from boldvision.report import results
from boldvision.report.figure_7_8 import BEST, WORST, figure_7_8
from boldvision.report.ranked_pictures import RankedPictures
from boldvision.report.ranking import ranking


def stimuli(figure):
    column = figure.axes[figure.axes.index(next(a for a in figure.axes if a.images)) :]
    return [axes.images[0].get_array() for axes in column[:3]]


def test_images_are_ranked_by_the_mean_over_subjects(tmp_path):
    ids = [7, 8, 9]
    rows = [
        model(tmp_path, "Dynadiff", {"main": {"pixcorr": np.array(v)}}, subject=s, image_ids=ids)
        for s, v in (("subj01", [0.1, 0.5, 0.2]), ("subj02", [0.9, 0.3, 0.2]))
    ]
    ranked = ranking(results.read(rows), "pixcorr")
    assert ranked.to_dict() == pytest.approx({7: 0.5, 8: 0.4, 9: 0.2})
    assert ranked.index.tolist() == [7, 8, 9]


@pytest.mark.parametrize(("metric", "best"), [("pixcorr", 120), ("dreamsim", 103)])
def test_the_direction_of_the_metric_counts(metric, best, tmp_path):
    ranked = ranking(results.read(two_subjects(tmp_path, metric=metric)), metric)
    assert ranked.index[0] == best
    assert len(ranked) == 18  # images 101 and 102 are subject 1's alone
    scale = 100 if metric == "dreamsim" else 1
    assert ranked.iloc[0] == pytest.approx(scale * best / 1000)


def test_equal_images_are_in_the_order_of_their_ids(tmp_path):
    values = {"main": {"pixcorr": np.zeros(3), "dreamsim": np.zeros(3)}}
    evaluations = results.read([model(tmp_path, "Dynadiff", values, image_ids=[9, 3, 5])])
    for metric in ("pixcorr", "dreamsim"):
        assert ranking(evaluations, metric).index.tolist() == [3, 5, 9]


@pytest.mark.parametrize(("end", "shown"), [(BEST, [120, 119, 118]), (WORST, [103, 104, 105])])
def test_best_and_worst(end, shown, tmp_path):
    rows = two_subjects(tmp_path)
    figure = figure_7_8(RankedPictures(rows, "pixcorr", 3, blur=False, note="note"), end)
    assert np.array_equal(stimuli(figure), [picture(i, 48) for i in shown])
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["Stimulus", "Subject 1", "Subject 2"]
    labels = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert labels == [f"PixCorr\n{i / 1000:.3f}" for i in shown]
    assert f"The {end} of the images" in figure.get_suptitle()


def test_too_few_images(tmp_path):
    with pytest.raises(UserError, match="19 images wanted, 18 were"):
        figure_7_8(
            RankedPictures(two_subjects(tmp_path), "pixcorr", 19, blur=False, note=""), WORST
        )


def test_a_network_that_is_not_the_papers_is_named(tmp_path):
    rows = two_subjects(tmp_path, metric="clip")
    figure = figure_7_8(RankedPictures(rows, "clip", 3, blur=False, note="note"), BEST)
    assert "CLIP-12 (%) [random weights]" in figure.get_suptitle()


@pytest.mark.survives(
    "results",
    "Rows of two decoders in figure 7 or 8",
    "Each is a block of pictures; the first ranks the images for both and is named",
)
def test_each_decoder_is_a_block(tmp_path):
    rows = two_subjects(tmp_path, ["Dynadiff", "Ridge"])
    figure = figure_7_8(RankedPictures(rows, "pixcorr", 3, blur=False, note="note"), BEST)
    assert [text.get_text() for text in figure.texts[:2]] == ["Dynadiff", "Ridge"]
    assert np.array_equal(stimuli(figure), [picture(i, 48) for i in (120, 119, 118)])
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == 2 * ["Stimulus", "Subject 1", "Subject 2"]
    made = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert np.array_equal(made[3], picture(1120, 32))
    assert np.array_equal(made[12], picture(3120, 32))
    assert "over subjects of Dynadiff's PixCorr" in " ".join(figure.get_suptitle().split())
    with pytest.raises(UserError, match="row 'Ridge': expected one model of subj01, found r"):
        figure_7_8(
            RankedPictures([*rows, rows[2] | {"run": "r"}], "pixcorr", 3, blur=False, note=""), BEST
        )
