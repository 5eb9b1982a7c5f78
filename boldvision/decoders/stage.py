"""One stage of the training of a decoder, on one or several subjects: ``NAME.STAGE``."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from boldvision import config, plugins
from boldvision.cli import settings_from
from boldvision.decoders.arguments import add_data_arguments, generators, preprocessing
from boldvision.decoders.base import Job, SubjectData, digest, read_data
from boldvision.decoders.record import MODEL, artefacts, read_model_record, write_model_record
from boldvision.errors import UserError
from boldvision.files import only_job, replace_folder, sha256
from boldvision.fingerprint import fingerprint
from boldvision.targets.base import target_digest
from boldvision.training import environment


def main(name: str, argv: list[str]) -> None:
    """Stage `name`, ``DECODER.STAGE``: writes folder ``--out``, named like the stage.

    A killed job goes on from ``<out>.checkpoint``, if seed, subjects, their data, the model it
    started from, earlier stages, all settings and the code are the same. One job at a time works
    on ``--out``. The last stage writes the model's ``model.json``.
    """
    decoder, stage = name.split(".")
    known = plugins.stages(decoder)
    parser = argparse.ArgumentParser(prog=f"boldvision {name}", description=known[stage])
    add_data_arguments(parser)
    parser.add_argument(
        "--job", default="{}", help="JSON: settings of the run that do not change the model"
    )
    parser.add_argument("--start", type=Path, help="folder of the model to start from")
    parser.add_argument("--out", type=Path, required=True, help="folder of the stage")
    arguments = parser.parse_args(argv)
    environment.believe_launcher()
    work = arguments.out.with_name(f"{arguments.out.name}.checkpoint")
    job = _job(arguments, work, name)
    run = plugins.module("decoders", decoder, stage).main
    if not environment.is_main_process():
        return run(job)
    with only_job(arguments.out):
        job.out.mkdir(parents=True, exist_ok=True)
        run(job)
        (job.model / MODEL).unlink(missing_ok=True)  # it lists what is no longer there
        replace_folder(job.out, arguments.out)
        if stage == list(known)[-1]:
            write_model_record(job.model, decoder, known)
        shutil.rmtree(work)


def _job(arguments: argparse.Namespace, work: Path, name: str) -> Job:
    settings = settings_from(arguments.settings)
    more = settings_from(arguments.job)
    run = plugins.run_settings(plugins.merge(settings["run"], more))
    data = read_data(arguments.data, preprocessing(settings))
    _require_targets(run, data)
    contents = [subject.contents(run.sessions) for subject in data]
    contents += [[target_digest(s.targets[t]) for t in run.target_names()] for s in data]
    known = [settings, [subject.name for subject in data], contents, arguments.seed]
    before = [_start_digest(run, arguments.start), _earlier(arguments.out.parent, *name.split("."))]
    code = fingerprint(__name__, f"boldvision.decoders.{name}")
    return Job(
        run=run,
        data=data,
        window=config.Window(**settings["window"]),
        generators=generators(settings),
        seed=arguments.seed,
        model=arguments.out.parent,
        start=arguments.start,
        out=work / "out",
        checkpoints=work / digest(*known, *before, code),
    )


def _earlier(model: Path, decoder: str, stage: str) -> dict[str, str]:
    """Digests of what the stages before this one made, by file."""
    stages = list(plugins.stages(decoder))
    return artefacts(model, stages[: stages.index(stage)])


def _require_targets(run: config.BaseRun, data: Sequence[SubjectData]) -> None:
    for subject in data:
        if missing := set(run.target_names()) - set(subject.targets):
            raise UserError(
                f"--data: {subject.name}: expected the target {min(missing)}, which the run is "
                "trained on, found none; give its file"
            )


def _start_digest(run: config.BaseRun, start: Path | None) -> str | None:
    """Digest of the model that a run starts from, if it does.

    Raises
    ------
    UserError
        The run starts from a model and none is given, or the other way round; or it is missing.
    """
    if (start is None) == (run.pretrained is not None):
        raise UserError(
            "--start: expected the folder of a model if, and only if, `pretrained` of the run "
            "names one. Give both or neither."
        )
    if start is None:
        return None
    read_model_record(start)
    return sha256(start / MODEL)
