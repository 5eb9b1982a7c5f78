"""Two jobs never work in one folder."""

import pytest
from decoder_data import reconstruct_arguments, train, train_arguments, write_subject

from boldvision import cli, files
from boldvision.files import only_job
from boldvision.training.environment import PROCESSES

pytestmark = pytest.mark.usefixtures("no_gpu")


@pytest.fixture(scope="module")
def data(folder):
    return [write_subject(folder, "subj01")]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(files, "PATIENCE_S", 0)


@pytest.mark.survives(
    "jobs",
    "A model is trained, or reconstructed with, while another job does the same",
    "The second job waits, then stops and names the process that works there",
)
def test_a_second_job_is_refused(generator, data, folder, capsys):
    model = folder / "model"
    with only_job(model / "train"):
        assert cli.main(train_arguments(generator, data, model)) == 1
        assert "train: another job works there (process" in capsys.readouterr().err
    train(generator, data, model, steps=1)
    command = reconstruct_arguments(generator, data[0], model, folder / "made")
    with only_job(folder / "made"):
        assert cli.main(command) == 1
        assert "made: another job works there (process" in capsys.readouterr().err
    assert cli.main(command) == 0


def test_processes_of_one_training_do_not_lock_each_other_out(generator, data, folder, monkeypatch):
    """The second of two: the first holds the folder for both."""
    for name, value in {PROCESSES: "2", "WORLD_SIZE": "2", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    calls = []
    monkeypatch.setattr("boldvision.decoders.dynadiff.train.main", calls.append)
    with only_job(folder / "shared" / "train"):
        assert cli.main(train_arguments(generator, data, folder / "shared")) == 0
    assert len(calls) == 1
    assert not (folder / "shared" / "train").exists()
