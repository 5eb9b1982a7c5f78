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
        # Each process reads a checkpoint, 4 GB, to go on from it.
        mem_mb=12000 * max(1, CONFIG.gpus_per_job),
        runtime=4320,  # 8 A100 take 2.5 days for a model of the paper; fewer need more tries
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
