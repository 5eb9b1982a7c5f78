"""Brain-Diffuser's regressions, beside scikit-learn's on the same windows."""

import json
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from config_data import DEFAULT, NSD, runs_table, values_of, write_runs_table
from decoder_data import N_TR, WINDOW, write_subject
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from boldvision import cli, config, plugins
from boldvision.config.load import load_config
from boldvision.config_docs import read_values
from boldvision.costs import Sizes
from boldvision.decoders.base import Trained
from boldvision.decoders.brain_diffuser import cost, dual, ridge
from boldvision.decoders.brain_diffuser.examples import Moments
from boldvision.decoders.brain_diffuser.predicted import KINDS
from boldvision.decoders.brain_diffuser.prediction import Regressions
from boldvision.decoders.brain_diffuser.rescale import of_test_set, rescaled
from boldvision.errors import UserError
from boldvision.hdf5 import write_text
from boldvision.plan import Plan
from boldvision.targets.base import digest
from boldvision.trials.windows import load_windows

pytestmark = pytest.mark.usefixtures("no_gpu")

SHAPES = {
    "vdvae": ("latents", (7,)),
    "clip_image": ("tokens", (3, 4)),
    "clip_text": ("tokens", (2, 4)),
}
ALPHAS = {"latents": 20.0, "image_tokens": 60.0, "text_tokens": 5.0}
RUN = {
    "decoder": "brain_diffuser", "split": "standard", "preprocessing": "nsd_prep",
    "generator": "tiny_dual", "vdvae": "vdvae", "clip": "clip",
    "latents": "vdvae", "image_tokens": "clip_image", "text_tokens": "clip_text",
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A subject of noise, with 12 images, 4 of which are tested, and random targets."""
    folder = tmp_path_factory.mktemp("subject")
    subject, random = write_subject(folder, "subj01", n_images=12), np.random.default_rng(1)
    ids = np.arange(1, 13)
    for name, (array, shape) in SHAPES.items():
        subject.targets[name] = folder / f"{name}.h5"
        values = {array: (2 + random.standard_normal((12, *shape))).astype(np.float16)}
        with h5py.File(subject.targets[name], "w") as file:
            file["image_id"] = ids
            file[array] = values[array]
            write_text(file, "sha256", digest(ids, values))
    return subject


def settings(ridge=None, **reconstruction):
    return RUN | {"ridge": {"alphas": ALPHAS} | (ridge or {}), "reconstruction": reconstruction}


def command(data, out, run, subjects=1):
    told = {"run": run, "window": WINDOW, "generators": {}}
    told["preprocessing"] = data.preprocessing.model_dump()
    paths = {name: str(getattr(data, name)) for name in ("trials", "split", "images", "bold")}
    paths["targets"] = {name: str(path) for name, path in data.targets.items()}
    where = {f"subj0{number + 1}": paths for number in range(subjects)}
    return ["brain_diffuser.ridge", "--settings", json.dumps(told), "--data", json.dumps(where),
            "--out", str(out)]  # fmt: skip


def regressions(data, folder, run):
    """Of a model that is trained if it is not there."""
    if not folder.exists():
        assert cli.main(command(data, folder / "ridge", run)) == 0
    return Regressions(Trained(plugins.run_settings(run), folder, {}, {}, data, 0, "cpu"))


def windows(data, part):
    return load_windows(data.bold, data.trials, data.split, config.Window(**WINDOW),
                        data.preprocessing, part)  # fmt: skip


def truth(data, key, image_ids):
    """Targets of images, [N, dimensions]."""
    array, shape = SHAPES[KINDS[key]]
    with h5py.File(data.targets[KINDS[key]]) as file:
        return file[array][:][image_ids - 1].reshape(len(image_ids), *shape).astype(np.float64)


@pytest.mark.parametrize("examples", ["single_trials", "image_means"])
@pytest.mark.parametrize("time", ["flatten", "mean"])
def test_predictions_are_those_of_scikit_learn_s_ridge(data, tmp_path, examples, time):
    run = settings({"examples": examples, "time": time})
    found = regressions(data, tmp_path / "model", run)
    train, test = windows(data, "train"), windows(data, "test")[:]
    train = train.averaged() if examples == "image_means" else train
    ids, bold = train.trials["image_id"].to_numpy(), train[:]

    def flat(values):
        return values.reshape(len(values), -1) if time == "flatten" else values.mean(axis=1)

    scaler = StandardScaler().fit(flat(bold))
    scaler.scale_ *= np.sqrt(len(bold) / (len(bold) - 1))
    products = dual.cross(
        found.features.of(torch.from_numpy(flat(test))), found.features, len(found.examples), rows=5
    )
    for key, alpha in ALPHAS.items():
        shares = found.fit.shares(products, found.fit.per_image(), alpha)
        predicted = found._predicted(key, shares, found.targets[key]).numpy()
        true = truth(data, key, ids)
        tokens = true.reshape(len(true), -1, true.shape[-1])
        one_by_one = [
            Ridge(alpha=alpha)
            .fit(scaler.transform(flat(bold)), tokens[:, token])
            .predict(scaler.transform(flat(test)))
            for token in range(tokens.shape[1])
        ]
        np.testing.assert_allclose(predicted, np.concatenate(one_by_one, axis=1), atol=1e-5)


def test_an_image_left_out_is_predicted_as_without_it(data, tmp_path):
    found = regressions(data, tmp_path / "model", settings({"standardize": False}))
    train = windows(data, "train")
    bold, ids = train[:].reshape(len(train), -1), train.trials["image_id"].to_numpy()
    for key, alpha in ALPHAS.items():
        true = truth(data, key, ids).reshape(len(ids), -1)
        left_out = np.empty_like(true)
        for image_id in np.unique(ids):
            rest = ids != image_id
            fit = Ridge(alpha=alpha).fit(bold[rest], true[rest])
            left_out[~rest] = fit.predict(bold[~rest])
        parameters = found.parameters
        for name, expected in {
            "mean": true.mean(0),
            "std": true.std(0),
            "left_out_mean": left_out.mean(0),
            "left_out_std": left_out.std(0),
        }.items():
            np.testing.assert_allclose(parameters[f"{key}.{name}"], expected, atol=1e-5)


def test_images_of_unequal_repetitions_are_left_out_whole():
    random, member = np.random.default_rng(2), np.array([0, 1, 1, 2, 2, 2, 3, 0, 4, 4])
    bold, true = random.standard_normal((10, 6)), random.standard_normal((5, 3))
    values, vectors = torch.linalg.eigh(
        torch.from_numpy((bold - bold.mean(0)) @ (bold - bold.mean(0)).T)
    )
    fit = dual.Spectrum(values.clamp(min=0), vectors, torch.from_numpy(member))
    found = fit.left_out(fit.per_image(), 0.5).numpy() @ true
    for image in range(5):
        rest = member != image
        expected = Ridge(alpha=0.5).fit(bold[rest], true[member[rest]]).predict(bold[~rest])
        np.testing.assert_allclose(found[~rest], expected, atol=1e-9)


def test_products_are_those_of_all_pairs_whatever_the_blocks(tmp_path):
    bold = torch.randn(11, 4, dtype=torch.float64)
    for rows in (3, 4, 20):
        found = dual.gram(lambda some: bold[some], 11, tmp_path / str(rows), rows=rows)
        torch.testing.assert_close(found, bold @ bold.T)


@pytest.mark.survives(
    "jobs",
    "Brain-Diffuser's regressions are killed while windows are multiplied with each other",
    "The same command reads no block of windows again that was finished, and makes the same bytes",
)
def test_products_go_on_after_the_blocks_that_are_there(tmp_path):
    bold = torch.randn(9, 4, dtype=torch.float64)

    def read(some):
        if dying and some.start >= 6:
            raise KeyboardInterrupt
        blocks.append(some)
        return bold[some]

    whole = dual.gram(lambda some: bold[some], 9, tmp_path / "whole", rows=3)
    dying, blocks = True, []
    with pytest.raises(KeyboardInterrupt):
        dual.gram(read, 9, tmp_path / "killed", rows=3)
    dying, blocks = False, []
    assert torch.equal(dual.gram(read, 9, tmp_path / "killed", rows=3), whole)
    assert [some.start for some in blocks] == [6, 0, 3]


@pytest.mark.survives(
    "files",
    "Products that a killed Brain-Diffuser job finished are damaged",
    "The job that goes on from them names the file, which is to be removed",
)
def test_damaged_products_are_named(tmp_path):
    bold = torch.randn(6, 4, dtype=torch.float64)
    dual.gram(lambda some: bold[some], 6, tmp_path, rows=3)
    file = tmp_path / "gram-000003.npy"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"gram-000003\.npy: .* killed job .* remove it and run"):
        dual.gram(lambda some: bold[some], 6, tmp_path, rows=3)


def test_moments_of_features_are_those_of_all_samples(data, tmp_path, monkeypatch):
    monkeypatch.setattr("boldvision.decoders.brain_diffuser.examples.ROWS", 7)
    found = regressions(data, tmp_path / "model", settings()).features.moments
    bold = windows(data, "train")[:].reshape(-1, N_TR * 5).astype(np.float64)
    np.testing.assert_allclose(found.mean, bold.mean(0), atol=1e-9)
    np.testing.assert_allclose(found.std, bold.std(0, ddof=1), atol=1e-9)


# Rescaling


@pytest.mark.parametrize("rescale", ["test_set", "train"])
def test_predictions_are_rescaled(data, tmp_path, rescale):
    run = settings(rescale=rescale)
    found = regressions(data, tmp_path / "model", run)
    test = windows(data, "test")[:]
    for key, predicted in found.predict(test).items():
        mean, std = (found.parameters[f"{key}.{name}"] for name in ("mean", "std"))
        if rescale == "test_set":
            torch.testing.assert_close(predicted.mean(0), mean, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(predicted.std(0, correction=0), std, atol=1e-5, rtol=1e-4)
        else:
            torch.testing.assert_close(found.predict(test[:1])[key], predicted[:1])


def test_what_is_predicted_alike_everywhere_becomes_the_true_mean():
    predicted = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    true = Moments(torch.tensor([10.0, 20.0]), torch.tensor([2.0, 4.0]))
    found = rescaled(predicted, of_test_set(predicted), true)
    torch.testing.assert_close(found, torch.tensor([[8.0, 20.0], [12.0, 20.0]]))


@pytest.mark.survives(
    "results",
    "A test set of Brain-Diffuser has one window, and its predictions are rescaled as published",
    "The job stops, says that windows are compared with each other, and names the other setting",
)
def test_one_window_alone_is_not_rescaled_by_its_test_set(data, tmp_path):
    found = regressions(data, tmp_path / "model", settings())
    with pytest.raises(UserError, match=r"two or more, found one; .* set it to train"):
        found.predict(windows(data, "test")[:1])


# What is refused


def test_one_subject_alone(data, tmp_path, capsys):
    assert cli.main(command(data, tmp_path / "ridge", settings(), subjects=2)) == 1
    assert "expected one subject, whose voxels the features are, found 2" in capsys.readouterr().err


@pytest.mark.survives(
    "results",
    "The targets or trials beside a trained Brain-Diffuser are others than it was trained on",
    "No picture is made; the job names the record of the model and how to train anew",
)
@pytest.mark.parametrize("what", ["targets", "trials"])
def test_a_model_of_other_data_is_refused(data, tmp_path, what):
    regressions(data, tmp_path / "model", settings())
    other = write_subject(tmp_path, "subj01", n_images=13)
    if what == "targets":
        changed = data.targets | {"vdvae": data.targets["clip_image"]}
        other = type(data)(**{**vars(data), "targets": changed})
    else:
        other.targets.update({name: data.targets[name] for name in SHAPES})
    with pytest.raises(UserError, match="expected a model of the training windows and targets"):
        regressions(other, tmp_path / "model", settings())


def test_a_small_card_leaves_the_decomposition_to_the_cores(monkeypatch):
    monkeypatch.setattr(ridge, "best_device", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (24e9, 24e9))
    assert (ridge.roomy_device(9000), ridge.roomy_device(27000)) == ("cuda", "cpu")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (
            "latents",
            "vae",
            "expected a target of kind vdvae and network vdvae, found 'vae' of kind",
        ),
        (
            "text_tokens",
            "clip_image",
            "expected a target of kind clip_text and network clip, found",
        ),
        (
            "generator",
            "tiny",
            "expected one of a dual kind, found 'tiny' of kind tiny; name another",
        ),
    ],
)
def test_what_does_not_fit_together_is_named(key, value, told):
    values = values_of()
    values["runs"]["brain_diffuser"][key] = value
    with pytest.raises(UserError, match=f"`{key}`: {told}"):
        load_config(values)


@pytest.mark.parametrize(("strength", "told"), [(1, "less than 1"), (0.019, "one step")])
def test_strengths_that_make_no_picture_are_refused_before_training(strength, told):
    values = values_of()
    values["runs"]["brain_diffuser"]["reconstruction"]["strength"] = strength
    with pytest.raises(UserError, match=f"strength.*{told}"):
        load_config(values)


def test_what_a_model_and_a_picture_cost_at_nsd_s_size():
    """Of 27,000 trials to 347,680 targets, and of 37 steps with both conditions and without."""
    real = load_config(read_values([DEFAULT, NSD]))
    run = real.run("brain_diffuser")
    generators = {run.generator: real.generators[run.generator]}
    networks = {name: real.network(name) for name in run.network_names()}
    sizes = Sizes({"subj01": 15_724}, 6, generators, networks, trials=27_000)
    work = cost.training(run, sizes)["ridge"]
    n, targets = 27_000, 91_168 + (257 + 77) * 768
    counted = n**2 * 94_344 + 9 * n**3 + 3 * 2 * n * 9000 * 36_000 + 2 * 9000**2 * targets
    assert work.teraflop == pytest.approx(cost.DOUBLE * counted / 1e12)
    assert work.bytes == 8 * n**2
    assert cost.picture(run, sizes).teraflop == pytest.approx(74 * 1.203 + 0.16 + 1.12 + 2.52, 0.01)


# Over time


def test_one_row_of_the_runs_table_draws_it_over_time(tmp_path):
    values, table = values_of(), runs_table()
    row = ["figure_5", "Brain-Diffuser", "brain_diffuser_time_resolved", "all", "first", "main"]
    table.loc[len(table)] = [*row, "shifts", "curve"]
    values["runs_table"] = write_runs_table(table, tmp_path / "runs.tsv")
    plan = Plan(load_config(values))
    scope = SimpleNamespace(scope="demo", items=lambda: [("scope", "demo")])
    *_, drawn = plan.rows("figure_5")(scope)
    assert drawn["row"] == "Brain-Diffuser"
    scores = "brain_diffuser_time_resolved/subj01/main/seed-0/subj01/shifts.curve.parquet"
    assert drawn["parquet"] == f"results/miniature/metrics/{scores}"
    assert drawn["parquet"] in plan.scores("figure_5")(scope)
    assert plan.split("figure_5")(scope) == "time_resolved"
