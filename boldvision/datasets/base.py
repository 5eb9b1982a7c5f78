"""What the workflow asks of a dataset: the one interface that hides where data come from.

`boldvision.signal`, `boldvision.trials`, `boldvision.report` and all that decodes import no
dataset. They meet it in five files (`boldvision.paths`), which its rules make:

- ``images``, the pictures that a subject saw, by `boldvision.images.write_images`;
- ``captions``, what people said of these pictures, at least one caption of each, by
  `boldvision.captions.write_captions`; only targets that read captions ask for it;
- ``trials``, one row per trial, in order of presentation: the columns that
  `boldvision.trials.table` lists, by its `write_trials`; `boldvision.trials.splits` splits them;
- ``series`` and ``quality``, a session's clean series and the report on them, by
  `boldvision.signal.session.write_session`. Their sampling period and the time of their first
  sample are `tr_s` and `first_volume_s` of the preprocessing; the stage compares what it can with
  the headers of what it reads.

To add one:

1. A folder here with ``dataset.py``, whose object has what `Dataset` lists, and a module with
   ``main(argv)`` for each stage: download, captions, trials, preparation of a session. What
   datasets share is there already: `boldvision.signal` reads volumes of a region and cleans them,
   runs fMRIPrep and reads its derivatives.
2. A line in `boldvision.datasets.choose`, and one per stage in `boldvision.cli`.
3. In ``boldvision/config``, its subjects (`Subject`) and, where its series are of another kind, a
   preprocessing.
4. In ``workflow/rules``, rules that make these files, included by the Snakefile in place of NSD's
   (`download`, `captions`, `preprocess`, `betas`, `fmriprep`, `trials`).
"""

from __future__ import annotations

from typing import Any, Protocol

from boldvision.config import S3, Config, Preprocessing, Subject


class Dataset(Protocol):
    """What is known of a dataset before its data are there.

    Attributes
    ----------
    stimulus_s
        How long an image is shown, s.
    trial_s
        From the onset of an image to the next, s, where nothing lies between.
    checked
        Items of the runs table whose answer is known, where a dataset is simulated.
    """

    stimulus_s: float
    trial_s: float
    checked: tuple[str, ...]

    def check(self, config: Config) -> None:
        """Raise ValueError, which names the key, unless a configuration can be of this dataset."""

    def check_window(self, config: Config, name: str) -> None:
        """Raise ValueError, which names it, if a window lies beyond every run."""

    def check_places(self, config: Config) -> None:
        """Raise UserError where a job would write into an existing copy of the data."""

    def task_runs(self, subject: Subject) -> int:
        """Task runs of all sessions of a subject."""

    def trials(self, subject: Subject) -> int:
        """Trials of all sessions of a subject."""

    def samples(self, preprocessing: Preprocessing) -> int:
        """Samples of one session's series, over all of its runs."""

    def download(self, preprocessing: Preprocessing, subject: Subject) -> tuple[str, float]:
        """What one job of a preprocessing downloads, in words, and its bytes, an estimate."""

    def source(self, config: Config) -> dict[str, Any]:
        """Settings of a download: where it comes from, and whether terms are accepted."""

    def served(self, s3: S3, *prefixes: str) -> str:
        """Beginning of a command that downloads keys with these prefixes; quoted, or empty."""

    def endpoint(self, s3: S3) -> list[str]:
        """Options that end such a command."""
