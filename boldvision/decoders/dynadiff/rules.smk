rule dynadiff_train:
    """Train brain module and adapters jointly; checkpoints lie beside the output."""
    input:
        trials=JOBS.trials,
        series=JOBS.training_series,
        targets=JOBS.targets,
        generators=JOBS.generators,
        start=JOBS.start,
        deepspeed=JOBS.deepspeed("training"),
    output:
        stage=directory(f"{PATHS.model}/train"),
        model=PATHS.model_json,
    log:
        f"{PATHS.logs}/dynadiff_train/{MODEL}.log",
    benchmark:
        f"{PATHS.benchmarks}/dynadiff_train/{MODEL}.tsv"
    wildcard_constraints:
        run=JOBS.runs_of("dynadiff"),
    conda:
        f"{ROOT}/envs/train.yaml"
    threads: max(1, CONFIG.gpus_per_job)
    resources:
        gpu=CONFIG.gpus_per_job,
        # A process: torch, CUDA and VAE 2.5 GB; at first, the U-Net 3.4 and the brain module 1.4, until
        # they are on the card. Series, latents and a checkpoint to go on from are mapped, and shared.
        # The main process: a copy of each checkpoint, 4 to 5 GB, while it is written, or 8 and 15.
        mem_mb=lambda wildcards: (
            8000 * max(1, CONFIG.gpus_per_job)
            + (12000 if CONFIG.run(wildcards.run).finetune in ("linear", "all") else 0)
        ),
        # 1.7 TFLOP x 19.2 M samples: 29 hours of an A100 at its peak, 65 to 225 at 45 to 13 % of it. One
        # card needs more tries than one, each of which goes on from the last.
        runtime=4320,
        # Not a parameter: it changes how the model is trained, not the model.
        job=JOBS.stage_job,
    params:
        data=JOBS.data,
        launch=JOBS.launch_options("training"),
        start=JOBS.start_options,
        settings=JOBS.stage_settings("train"),
        code=CODE.stage("dynadiff.train"),
    shell:
        "python -m boldvision gpu --gpus {resources.gpu:q} --accelerate {params.launch:q} --"
        " -m boldvision dynadiff.train --settings {params.settings:q} --job {resources.job:q}"
        " --data {params.data:q} --seed {wildcards.seed:q} {params.start:q}"
        " --out {output.stage:q} &> {log:q}"
