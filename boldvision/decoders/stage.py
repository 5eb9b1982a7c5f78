"""One stage of the training of a decoder, on one or several subjects: ``NAME.STAGE``."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from boldvision import config, plugins
from boldvision.cli import settings_from
from boldvision.decoders.arguments import Settings, add_data_arguments
from boldvision.decoders.base import Job, digest, read_data, target_digests
from boldvision.decoders.record import MODEL, artefacts, read_model_record, write_model_record
from boldvision.errors import UserError
from boldvision.files import only_job, replace_folder, sha256
from boldvision.fingerprint import fingerprint
from boldvision.memory import enough_memory, training_remedy
from boldvision.training import environment


class StageSettings(Settings):
    """What `--settings` of a stage of training says."""

    window: config.Window


def main(name: str, argv: list[str]) -> None:
    """Stage `name`, ``DECODER.STAGE``: writes folder ``--out``, named like the stage.

    A killed job goes on from ``<out>.checkpoint``, if seed, subjects, their data, the model it
    started from, earlier stages, all settings and the code are the same. One job at a time works
    on ``--out``. The last stage writes the model's ``model.json``, if all are there (`listing`).
    """
    decoder, stage = name.split(".")
    known = plugins.stages(decoder)
    parser = argparse.ArgumentParser(prog=f"boldvision {name}", description=known[stage])
    add_data_arguments(parser)
    parser.add_argument(
        "--job", default="{}", help="JSON: settings of the run that change nothing of this stage"
    )
    parser.add_argument("--start", type=Path, help="folder of the model to start from")
    parser.add_argument("--out", type=Path, required=True, help="folder of the stage")
    arguments = parser.parse_args(argv)
    environment.believe_launcher()
    work = arguments.out.with_name(f"{arguments.out.name}.checkpoint")
    job = _job(arguments, work, name)
    run = plugins.defined("decoders", decoder, stage, "main")
    enough = enough_memory(training_remedy(job.run, stage))
    if not environment.is_main_process():
        with enough:
            return run(job)
    with only_job(arguments.out), enough:
        shutil.rmtree(job.out, ignore_errors=True)  # of a killed job, perhaps with other settings
        job.out.mkdir(parents=True)
        run(job)
        (job.model / MODEL).unlink(missing_ok=True)  # it lists what is no longer there
        replace_folder(job.out, arguments.out)
        if stage == list(known)[-1] and all((job.model / name).is_dir() for name in known):
            write_model_record(job.model, decoder, known)
        shutil.rmtree(work)


def _job(arguments: argparse.Namespace, work: Path, name: str) -> Job:
    given = settings_from(arguments.settings)
    settings = StageSettings.model_validate(given)
    run = plugins.run_settings(plugins.merge(settings.run, settings_from(arguments.job)))
    decoder, stage = name.split(".")
    if run.decoder != decoder:
        raise UserError(f"--settings: run: expected one of {name}, found one of {run.decoder}")
    data = read_data(arguments.data, settings.preprocessing)
    contents = [subject.contents(run.sessions) for subject in data]
    contents += target_digests(run.stage_targets(stage), data)
    known = [given, [subject.name for subject in data], contents, arguments.seed]
    earlier = artefacts(arguments.out.parent, plugins.earlier(decoder, stage))
    before = [_start_digest(run, arguments.start), earlier]
    code = fingerprint(__name__, f"boldvision.decoders.{name}")
    return Job(
        run=run,
        data=data,
        window=settings.window,
        generators=settings.generators,
        networks=settings.network_settings(),
        seed=arguments.seed,
        model=arguments.out.parent,
        start=arguments.start,
        out=work / "out",
        checkpoints=work / digest(*known, *before, code),
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
