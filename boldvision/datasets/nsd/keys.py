"""Keys of the NSD bucket (NSD Data Manual): the one place that knows where a file lies."""

from __future__ import annotations

from collections.abc import Iterable

from boldvision.errors import UserError

SPACE = "func1pt8mm"
"""The functional preparation used throughout: 1.8 mm voxels, one volume every 4/3 s."""

RAWDATA = "nsddata_rawdata/"
"""The raw data, a BIDS dataset; the files directly in this folder describe it."""

TASK = "nsdcore"
"""BIDS's name of the task of core sessions."""

NAMED = 10
"""Missing files that a message names."""


def expdesign() -> str:
    """MATLAB file with the order of the images of every subject."""
    return "nsddata/experiments/nsd/nsd_expdesign.mat"


def stim_info() -> str:
    """CSV with the COCO id and the crop of each of the 73,000 images."""
    return "nsddata/experiments/nsd/nsd_stim_info_merged.csv"


def stimuli() -> str:
    """HDF5 file with the pixels of all images, dataset `imgBrick`; row = image_id - 1."""
    return "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"


def shared_image(number: int, image_id: int) -> str:
    """PNG of an image that every subject saw: the `number`-th (1-based) of the shared images."""
    return f"nsddata_stimuli/stimuli/nsd/shared1000/shared{number:04d}_nsd{image_id:05d}.png"


def roi(subject: str, name: str = "nsdgeneral") -> str:
    """Volume of a region of interest: -1 outside cortex, 0 unlabelled, > 0 the region."""
    return f"nsddata/ppdata/{subject}/{SPACE}/roi/{name}.nii.gz"


def brainmask(subject: str) -> str:
    """Volume of the liberal brain mask."""
    return f"nsddata/ppdata/{subject}/{SPACE}/brainmask.nii.gz"


def responses(subject: str) -> str:
    """Table of the behaviour, one row per trial."""
    return f"nsddata/ppdata/{subject}/behav/responses.tsv"


def timeseries_folder(subject: str) -> str:
    """Folder of the pre-processed BOLD runs."""
    return f"nsddata_timeseries/ppdata/{subject}/{SPACE}/timeseries"


def timeseries(subject: str, session: int, file_run: int) -> str:
    """BOLD of one run: int16 [X, Y, Z, 226]; `session` and `file_run` are 1-based."""
    return f"{timeseries_folder(subject)}/timeseries_{_run(session, file_run)}.nii.gz"


def design_folder(subject: str) -> str:
    """Folder of the designs of all runs."""
    return f"nsddata_timeseries/ppdata/{subject}/{SPACE}/design"


def design(subject: str, session: int, file_run: int) -> str:
    """Design of one run, 225 lines; `session` and `file_run` are 1-based."""
    return f"{design_folder(subject)}/design_{_run(session, file_run)}.tsv"


def betas(
    subject: str,
    session: int,
    kind: str = "betas_fithrf_GLMdenoise_RR",
    extension: str = "nii.gz",
) -> str:
    """Single-trial responses of one session: int16, 300 x percent signal change, 750 trials.

    `extension` is ``nii.gz`` ([X, Y, Z, 750]) or ``hdf5`` (dataset `betas`, axes reversed).
    """
    folder = f"nsddata_betas/ppdata/{subject}/{SPACE}/{kind}"
    return f"{folder}/betas_session{session:02d}.{extension}"


def raw_subject(number: int) -> str:
    """Folder of a subject's raw data: BIDS calls subj01 ``sub-01``."""
    return f"{RAWDATA}sub-{number:02d}/"


def raw_session(number: int, session: int) -> str:
    """Folder of a core session's raw data."""
    return f"{raw_subject(number)}ses-nsd{session:02d}/"


def raw_run(number: int, session: int, task_run: int, suffix: str) -> str:
    """File of one task run; `suffix` is ``bold.nii.gz``, ``bold.json`` or ``events.tsv``."""
    return f"{raw_session(number, session)}func/{bids_run(number, session, task_run)}_{suffix}"


def bids_run(number: int, session: int, task_run: int) -> str:
    """How names of files of a task run begin, in the raw data and in derivatives of them."""
    return f"sub-{number:02d}_ses-nsd{session:02d}_task-{TASK}_run-{task_run:02d}"


def require_safe_keys(keys: Iterable[str], where: str) -> None:
    """Refuse listed keys that, as paths, leave their folder or break a line of the ledger.

    Parameters
    ----------
    keys
        As listed, of files.
    where
        Who listed them, for the message.

    Raises
    ------
    UserError
        A key is absolute, has an empty, ``.`` or ``..`` segment, a backslash or a character that
        is not printable.
    """
    for key in keys:
        segments = key.split("/")
        if not key.isprintable() or "\\" in key or {"", ".", ".."} & set(segments):
            raise UserError(
                f"{where}: lists {key!r}, expected a relative path without '.', '..', backslash "
                "or control characters; have it renamed or removed there"
            )


def the_missing(missing: list[str], total: int) -> str:
    """How many of `total` files are missing, and which; the first `NAMED` of many."""
    more = f", and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    names = ", ".join(missing[:NAMED])
    return f"{len(missing)} of {total} files are missing: {names}{more}"


def _run(session: int, file_run: int) -> str:
    return f"session{session:02d}_run{file_run:02d}"
