"""The files of every stage: named here, and nowhere else."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boldvision.runs_table import Evaluation

MODEL = "{run}/{subjects}/{window}/seed-{seed}"
"""A model: a run of the configuration, the subjects and window that it is trained on, its seed."""


class Paths:
    """Patterns of files, with the wildcards that rules know: ``{subject}``, ``{run}``, ….

    Rules use them as they are, ``output: PATHS.trials``; who knows the names calls `format`.

    Parameters
    ----------
    dataset
        Names the folders below ``resources/`` and ``results/``.

    Attributes
    ----------
    expdesign, roi, designs, timeseries, betas, rawdata
        What is fetched of NSD: the experiment; of a subject the region and the designs of all runs;
        the BOLD of a session, its betas, and a subject's raw data, which are prepared.
    stimulus_table, annotations
        Which image of COCO each image is, and COCO's archive of captions.
    images, captions, trials, split, voxels
        Of a subject: the pictures that were seen, what they show in words, the trial table, a
        split of the trials, the voxels of the region.
    bold, series, quality
        Clean series of a subject: their folder, and file and report of a session (two digits).
    derivatives
        What fMRIPrep made of a subject's raw data.
    target
        What a frozen network makes of a subject's images.
    model, stage, model_json
        A model's folder, the folder of one stage of its training, and the list of both.
    pictures, scores, summary
        Of a test set: reconstructions, and their values per image and pooled.
    kept_scores, stimulus_features
        No outputs: what the scoring of a test set, and of all, may find from earlier.
    benchmark_gpu
        How fast a GPU of this machine is.
    table, figure, scorecard, known_answer, gallery
        Of a scope.
    """

    def __init__(self, dataset: str):
        self.resources, self.results = f"resources/{dataset}", f"results/{dataset}"
        self.logs, self.benchmarks = f"logs/{dataset}", f"benchmarks/{dataset}"

        self.expdesign = f"{self.resources}/nsddata/experiments/nsd/nsd_expdesign.mat"
        self.stimulus_table = f"{self.resources}/nsddata/experiments/nsd/nsd_stim_info_merged.csv"
        self.annotations = f"{self.resources}/coco/annotations_trainval2017.zip"
        self.roi = f"{self.resources}/nsddata/ppdata/{{subject}}/func1pt8mm/roi/nsdgeneral.nii.gz"
        series = f"{self.resources}/nsddata_timeseries/ppdata/{{subject}}/func1pt8mm"
        self.designs = f"{series}/design"
        self.timeseries = f"{series}/timeseries/session{{session}}"
        betas = f"{self.resources}/nsddata_betas/ppdata/{{subject}}/func1pt8mm"
        self.betas = f"{betas}/{{preprocessing}}/session{{session}}"
        self.rawdata = f"{self.resources}/rawdata/{{subject}}"

        self.images = f"{self.resources}/images/{{subject}}.h5"
        self.captions = f"{self.resources}/captions/{{subject}}.parquet"
        self.trials = f"{self.results}/trials/{{subject}}.parquet"
        self.split = f"{self.results}/splits/{{split}}/{{subject}}.parquet"
        self.voxels = f"{self.results}/voxels/{{subject}}.npz"

        self.bold = f"{self.results}/bold/{{preprocessing}}/{{subject}}"
        self.series = f"{self.bold}/session{{session}}.npy"
        self.quality = f"{self.bold}/session{{session}}.json"
        self.derivatives = f"{self.results}/fmriprep/{{preprocessing}}/{{subject}}"

        self.target = f"{self.results}/targets/{{target}}/{{subject}}.h5"
        self.models = f"{self.results}/models"
        self.model = f"{self.models}/{MODEL}"
        self.stage = f"{self.model}/{{stage}}"
        self.model_json = f"{self.model}/model.json"

        test_set = f"{MODEL}/{{subject}}/{{test_set}}"
        self.pictures = f"{self.results}/reconstructions/{test_set}"
        self.scores = f"{self.results}/metrics/{test_set}.{{metrics}}.parquet"
        self.summary = f"{self.results}/metrics/{test_set}.{{metrics}}.json"
        self.kept_scores = f"{self.results}/kept_scores/{test_set}"
        self.stimulus_features = f"{self.results}/stimulus_features"
        self.benchmark_gpu = f"{self.results}/benchmark_gpu.json"

        scope = f"{self.results}/{{scope}}"
        self.table = f"{scope}/tables/{{table}}.{{kind}}"
        self.figure = f"{scope}/figures/{{figure}}.{{kind}}"
        self.scorecard = f"{scope}/scorecard.{{kind}}"
        self.known_answer = f"{scope}/known_answer.json"
        self.gallery = f"{scope}/gallery"

    def of(self, pattern: str, evaluation: Evaluation) -> str:
        """A file of a model or of one of its test sets."""
        return pattern.format(**asdict(evaluation))
