"""Where the authors' weights of a subject lie."""

from __future__ import annotations

import re
from pathlib import Path

from boldvision.decoders.dynadiff_official.settings import Run
from boldvision.errors import UserError
from boldvision.shipped import shipped

TAG = "checkpoint"
MODEL_STATES = "mp_rank_00_model_states.pt"
OPTIMIZER_STATES = "*_optim_states.pt"
REMEDY = "download the folder of this subject again"


def checkpoint_files(run: Run, subject: str) -> list[str]:
    """Files of a subject's checkpoint: the model's, then the optimizer's, by rank.

    Raises
    ------
    UserError
        `weights` is not set, or there are no such files.
    """
    if lacks := run.lacks():
        raise UserError(f"run of decoder {run.decoder}: {lacks}")
    place = Path(shipped(str(run.weights)))
    names = [subject.replace("subj", "sub"), subject]
    folders = [place / name / TAG for name in names if (place / name / TAG).is_dir()]
    if not folders:
        raise UserError(
            f"{place}: expected the folder {names[0]}/{TAG} or {subject}/{TAG} of the authors' "
            "weights, found neither; correct `weights` of the run, or download it there"
        )
    states = folders[0] / MODEL_STATES
    if not states.is_file():
        raise UserError(
            f"{states}: expected a checkpoint of ZeRO stage 1 or 2, found no such file; {REMEDY}"
        )
    ranks = sorted(folders[0].glob(OPTIMIZER_STATES), key=_rank)
    if not ranks:
        raise UserError(f"{folders[0]}: expected files {OPTIMIZER_STATES}, found none; {REMEDY}")
    return [str(file) for file in (states, *ranks)]


def _rank(file: Path) -> int:
    found = re.search(r"_rank_(\d+)_mp_rank_", file.name)
    return int(found[1]) if found else -1
