import numpy as np
import pandas as pd
import pytest
from report_data import FOUR, paper_rows

from boldvision.report import differences, formats, results
from boldvision.report.all_tables import AllTables
from boldvision.report.differences import comparisons, holm, pairs, sign_flip_p


def read(folder, *numbers, **kwargs):
    return {n: results.read(paper_rows(folder, n, **kwargs)) for n in numbers}


def compare(folder, *numbers, **kwargs):
    return differences.differences(
        AllTables(read(folder, *numbers, **kwargs), "miniature", True, seed=0)
    )


def change_values(rows, change):
    """Rewrite the values of every image and metric of rows of a table."""
    for row in rows:
        images = pd.read_parquet(row["parquet"])
        images["value"] = change(images)
        images.to_parquet(row["parquet"])


def test_every_row_is_compared_with_the_paper_s_model(tmp_path):
    frame = compare(tmp_path, *range(1, 9), subjects=FOUR[:1])
    pairs_of = frame.groupby("tables", sort=False)[["row", "reference"]].first()
    assert frame.groupby("tables")["row"].nunique().to_dict() == {
        "1, 6": 1,
        "2": 2,
        "3": 4,
        "5": 1,
        "7": 1,
        "8": 1,
    }
    assert pairs_of.loc["3", "reference"] == "LoRA on cross-attention"
    assert tuple(pairs_of.loc["8"]) == ("Dynadiff multi-subject", "Dynadiff")
    assert tuple(pairs_of.loc["5"]) == ("Dynadiff w/ fMRIprep", "Dynadiff w/ NSD prep.")
    assert set(frame.loc[frame["tables"] == "2", "metric"]) == {"ssim", "alexnet_2", "clip", "miou"}
    assert set(frame.loc[frame["tables"] == "1, 6", "metric"]) >= {"pixcorr", "dreamsim"}


def test_known_shift_is_found_with_its_sign_in_the_paper_s_units(tmp_path):
    frame = compare(tmp_path, 2).query("row == 'timestep layers, aggregation IN'")
    clip = frame[frame["metric"] == "clip"].iloc[0]
    assert clip["difference"] == pytest.approx(-100 * 0.42 * 0.2)  # level 0.7 against 0.9
    assert clip["difference"] == pytest.approx(clip["value"] - clip["reference_value"])
    assert clip["low"] < clip["difference"] < clip["high"]
    assert clip["p"] < 0.001
    assert clip["p"] <= clip["p_holm"] < 0.01
    assert (clip["pairs"], clip["images"], clip["subjects"]) == (4 * 40, 40, 4)
    assert (clip["chance"], clip["reference_chance"]) == (50.0, 50.0)
    ssim = frame[frame["metric"] == "ssim"].iloc[0]
    assert ssim["difference"] == pytest.approx(-0.42 * 0.2)


def test_images_are_paired_by_subject_and_id(tmp_path):
    rows = paper_rows(tmp_path, 5, subjects=FOUR[:2])
    change_values(rows, lambda images: images["image_id"] / 100 + 0.2)
    shuffled = pd.read_parquet(rows[0]["parquet"]).sample(frac=1, random_state=0)
    shuffled[shuffled["image_id"] > 10].to_parquet(rows[0]["parquet"])
    row, reference = results.read(rows[:2]), results.read(rows[2:])
    both = pairs(row, reference, "clip")
    assert len(both) == 30 + 40
    np.testing.assert_array_equal(both["row"], both["reference"])
    for model in (row, reference):
        assert {e.subject for e in model} == set(both["subject"])


def test_no_common_image_is_no_comparison(tmp_path):
    rows = paper_rows(tmp_path, 5, subjects=FOUR[:1])
    images = pd.read_parquet(rows[0]["parquet"])
    images.assign(image_id=images["image_id"] + 1000).to_parquet(rows[0]["parquet"])
    frame = differences.differences(AllTables({5: results.read(rows)}, "miniature", True, seed=0))
    assert frame.empty
    assert list(frame.columns) == list(differences.COLUMNS)
    assert r"\bottomrule" in formats.to_latex(differences.sheet(frame))


def test_p_is_uniform_where_nothing_differs():
    rng = np.random.default_rng(0)
    images = np.tile(np.arange(30), 2)
    common = rng.standard_normal((400, 30))
    changes = np.concatenate([common, common + rng.standard_normal((400, 30))], axis=1)
    p = np.array([sign_flip_p(change, images, seed=1, flips=400) for change in changes])
    for level in (0.05, 0.2, 0.5, 0.8):
        assert np.mean(p <= level) == pytest.approx(level, abs=0.06)


def test_p_has_two_sides_and_a_least_value():
    change, images = np.full(40, 0.1), np.arange(40)
    assert sign_flip_p(change, images, seed=0) == sign_flip_p(-change, images, seed=0)
    assert sign_flip_p(change, images, seed=0) == pytest.approx(1 / 10_001)
    assert sign_flip_p(0 * change, images, seed=0) == 1
    assert sign_flip_p(change[:2], images[:2], seed=0) == pytest.approx(0.5, abs=0.03)


def test_an_image_is_one_unit():
    """Four subjects that see the same two images are two units, not eight."""
    change, images = np.full(8, 0.1), np.tile([1, 2], 4)
    assert sign_flip_p(change, images, seed=0) == pytest.approx(0.5, abs=0.03)


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_pair_of_models_is_listed_once(tmp_path):
    found = comparisons(read(tmp_path, 1, 6, 7))
    assert [c.tables for c in found] == [(1, 6), (7,)]


def test_same_seed_same_numbers(tmp_path):
    first, again = (compare(tmp_path, 2, subjects=FOUR[:1]) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    again = read(tmp_path, 2, subjects=FOUR[:1])
    other = differences.differences(AllTables(again, "miniature", True, seed=1))
    assert not other["low"].equals(first["low"])


def test_text(tmp_path):
    sheet = differences.sheet(compare(tmp_path, 1, 2, 6, subjects=FOUR[:1]))
    markdown, latex = formats.to_markdown(sheet), formats.to_latex(sheet)
    assert "Tables 1, 6: Mean image − Dynadiff" in markdown
    assert "small random ViT" in markdown
    assert "not comparable with the paper" in markdown
    assert "An image is one unit" in markdown
    assert r"\begin{longtable}" in latex
    assert r"CLIP-12 $\uparrow$ & 79.40 & 87.80 & $-$8.40 & $-$" in latex
    assert latex.isascii()
