"""Reconstruction: restartable, the same bytes however it was interrupted, one file per window."""

import subprocess

import h5py
import numpy as np
import pandas as pd
import pytest
from decoder_data import (
    PX,
    data_arguments,
    kill_when,
    load_model,
    mean_image_settings,
    reconstruct_arguments,
    run_settings,
    start,
    train,
    write_model,
    write_subject,
)

from boldvision import cli, config
from boldvision.decoders.artefact import read_artefact
from boldvision.decoders.reconstruct import reconstruct
from boldvision.errors import UserError
from boldvision.generators.images import to_tensor
from boldvision.trials.windows import load_windows

WINDOWS = {f"main+{shift}": {"start_s": 3 + 4 / 3 * shift, "n_tr": 3} for shift in range(12)}


pytestmark = pytest.mark.usefixtures("no_gpu")


@pytest.fixture(scope="module")
def subject(folder):
    return write_subject(folder, "subj01")


@pytest.fixture(scope="module")
def model(generator, subject, folder):
    train(generator, [subject], folder / "model", steps=3)
    return folder / "model"


def arguments(generator, subject, model, out, windows=WINDOWS, **settings):
    run = {"run": run_settings(steps=3)} | settings
    return reconstruct_arguments(generator, subject, model, out, windows, **run)


class Onlooker:
    """Paints a picture with how far its window is from the mean of all that it looked at."""

    label = ""

    def __init__(self, dies_after=99):
        self.left, self.looks = dies_after, 0

    def look_at(self, windows, subject):
        self.mean, self.looks = np.concatenate(list(windows)).mean(0), self.looks + 1

    def reconstruct(self, windows, subject, keys):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        far = (windows - self.mean).reshape(len(windows), -1)[:, :12]
        return np.uint8(100 * np.abs(far)).reshape(-1, 2, 2, 3)


def windows_of(subject, window, *trials):
    where = subject.bold, subject.trials, subject.split, window, subject.preprocessing
    return load_windows(*where, "test", *trials)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def undisturbed(generator, subject, model, folder):
    assert cli.main(arguments(generator, subject, model, folder / "undisturbed")) == 0
    return folder / "undisturbed"


@pytest.mark.survives(
    "jobs",
    "A reconstruction is killed with SIGKILL",
    "It goes on after its last finished window, to the same bytes",
)
def test_a_killed_job_goes_on_to_the_same_bytes(
    generator, subject, model, folder, undisturbed, capsys
):
    out, partial = folder / "killed", folder / "killed.partial"
    command = arguments(generator, subject, model, out)
    process = start(command, stdout=subprocess.DEVNULL)
    kill_when(lambda: len(list(partial.glob("*/main*.h5"))) > 1, process)
    finished = {path.name: path.stat() for path in partial.glob("*/main*.h5")}
    assert 1 < len(finished) < len(WINDOWS)
    assert not out.exists()

    assert cli.main(command) == 0
    computed = {line.split(":")[0] + ".h5" for line in capsys.readouterr().out.splitlines()}
    assert computed == {f"{name}.h5" for name in WINDOWS} - set(finished)
    for name, before in finished.items():
        after = (out / name).stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert content(out) == content(undisturbed)
    assert not partial.exists()


@pytest.mark.survives(
    "results",
    "A model is trained again after a reconstruction with it was stopped",
    "The pictures of the earlier model are not kept",
)
def test_windows_of_another_model_are_not_kept(
    generator, subject, model, folder, undisturbed, monkeypatch
):
    """The model was trained again after a reconstruction of it had been stopped."""

    class Stop(Exception):
        pass

    def stop(source, target):
        raise Stop

    out, command = folder / "again", arguments(generator, subject, model, folder / "again")
    other = folder / "other"
    parameters, record = read_artefact(model / "train")
    write_model(other, {name: value + 1 for name, value in parameters.items()}, record)
    with monkeypatch.context() as patch:
        patch.setattr("boldvision.decoders.reconstruct.replace_folder", stop)
        with pytest.raises(Stop):
            cli.main(arguments(generator, subject, other, out))
    assert len(list((folder / "again.partial").glob("*/*.h5"))) == len(WINDOWS)
    assert cli.main(command) == 0
    assert content(out) == content(undisturbed)


def test_a_file_holds_the_pictures_of_its_trials(subject, undisturbed):
    trials = pd.read_parquet(subject.trials).query("shared")
    with h5py.File(undisturbed / "main+2.h5") as file:
        assert file["images"].shape == (len(trials), PX, PX, 3)
        assert file["images"].dtype == np.uint8
        assert file["trial"][:].tolist() == trials["trial"].tolist()
        assert file["image_id"][:].tolist() == trials["image_id"].tolist()
        assert file.attrs["dropped"] == 0
        assert file.attrs["label"] == b"random"
        images = file["images"][:]
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_windows_that_leave_their_run_are_counted(generator, subject, model, folder):
    late = {"late": {"start_s": 3 + 4 / 3 * 200, "n_tr": 3}}
    out = folder / "late"
    assert cli.main(arguments(generator, subject, model, out, windows=late)) == 0
    with h5py.File(out / "late.h5") as file:
        assert file.attrs["dropped"] > 0
        assert file.attrs["dropped"] + len(file["images"]) == 6


def test_averages_have_one_picture_per_image(generator, subject, model, folder):
    windows = {"main": WINDOWS["main+0"]}
    command = arguments(
        generator, subject, model, folder / "averaged", windows=windows, trials="averaged"
    )
    assert cli.main(command) == 0
    with h5py.File(folder / "averaged" / "main.h5") as file:
        assert file["trial"][:].tolist() == [-1, -1]
        assert file["image_id"][:].tolist() == [7, 8]


class Colours:
    """Pictures of which the first `n` of a batch are of a single colour."""

    label = ""

    def __init__(self, n):
        self.n = n

    def reconstruct(self, windows, subject, keys):
        pictures = np.random.default_rng(0).integers(0, 256, (len(windows), 4, 4, 3), np.uint8)
        pictures[: self.n] = [10, 20, 30]
        return pictures


@pytest.mark.survives(
    "results",
    "A decoder makes pictures of a single colour",
    "They are counted in the log; a window of nothing else is refused",
)
def test_pictures_of_a_single_colour_are_counted_and_refused(subject, tmp_path):
    window = config.Window(**WINDOWS["main+0"])
    windows = windows_of(subject, window)
    assert len(windows) == 6
    assert reconstruct(Colours(0), windows, "subj01", 4, tmp_path / "none.h5") == 0
    assert reconstruct(Colours(1), windows, "subj01", 3, tmp_path / "some.h5") == 2
    with pytest.raises(UserError, match=r"all.h5: .* found that all 6 are of a single colour"):
        reconstruct(Colours(6), windows, "subj01", 4, tmp_path / "all.h5")
    assert {path.name for path in tmp_path.iterdir()} == {"none.h5", "some.h5"}


@pytest.mark.parametrize("trials", ["all", "averaged"])
def test_a_picture_is_drawn_with_the_key_of_its_trial_or_image(subject, tmp_path, trials):
    class Stub:
        label, seen = "", ()

        def reconstruct(self, windows, subject, keys):
            self.seen += tuple(keys)
            return np.tile(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), (len(windows), 1, 1, 1))

    stub, window = Stub(), config.Window(**WINDOWS["main+0"])
    windows = windows_of(subject, window, trials)
    reconstruct(stub, windows, "subj01", 4, tmp_path / "out.h5")
    ids = windows.trials["trial"] if trials == "all" else -windows.trials["image_id"]
    assert stub.seen == tuple(ids)


def test_pictures_do_not_depend_on_the_batch(generator, subject, model):
    decoder = load_model(model, run_settings(), generator)
    windows = np.random.default_rng(0).standard_normal((7, 3, 5)).astype(np.float32)
    keys = list(range(7))
    together = decoder.reconstruct(windows, "subj01", keys)
    alone = [decoder.reconstruct(windows[[i]], "subj01", [i])[0] for i in keys]
    assert abs(together.astype(int) - alone).max() <= 1


@pytest.mark.survives(
    "results",
    "A model was trained with other settings than it is read with",
    "It is refused; the first parameter that differs is named",
)
def test_a_model_of_other_sizes_is_refused(generator, model):
    run = run_settings()
    run["brain_module"]["hidden"] = 9
    with pytest.raises(UserError, match=r"model.safetensors: expected \d+ parameters"):
        load_model(model, run, generator)


def test_mean_image_is_the_mean_over_training_trials(subject, folder):
    """Images 1 to 6 train, three trials each; whatever the window, their mean comes out."""
    run, model, out = mean_image_settings(), folder / "mean_model", folder / "mean"
    words = data_arguments(None, [subject], run, seed=0, window=WINDOWS["main+0"])
    assert cli.main(["mean_image.train", *words, "--out", str(model / "train")]) == 0
    assert (model / "model.json").exists()
    windows = {"main": WINDOWS["main+0"]}
    assert cli.main(arguments(None, subject, model, out, windows=windows, run=run)) == 0
    with h5py.File(subject.images) as file:
        mean = to_tensor(file["images"][:6], PX).mean(0)
    with h5py.File(out / "main.h5") as file:
        images = file["images"][:]
        assert file.attrs["label"] == b""
    assert len(images) == 6
    wanted = (mean.permute(1, 2, 0).numpy() + 1) * 127.5
    assert abs(images - wanted[None]).max() <= 0.51


@pytest.mark.survives(
    "jobs",
    "A decoder that compares the windows of a test set with each other is killed between pictures",
    "It looks at all windows of that test set again, and makes the same bytes",
)
def test_a_decoder_looks_at_all_windows_before_the_first_picture(subject, tmp_path):
    windows = windows_of(subject, config.Window(**WINDOWS["main+0"]))
    whole, killed, again = Onlooker(), Onlooker(dies_after=1), Onlooker()
    reconstruct(whole, windows, "subj01", 3, tmp_path / "whole.h5")
    np.testing.assert_allclose(whole.mean, windows[:].mean(0), rtol=1e-5)
    with pytest.raises(KeyboardInterrupt):
        reconstruct(killed, windows, "subj01", 3, tmp_path / "made.h5")
    assert not (tmp_path / "made.h5").exists()
    reconstruct(again, windows, "subj01", 3, tmp_path / "made.h5")
    assert (whole.looks, again.looks) == (1, 1)
    assert (tmp_path / "made.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
