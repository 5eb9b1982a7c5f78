rule brain_diffuser_ridge:
    """Eigendecomposition of the training windows of one subject, for all of its regressions."""
    input:
        trials=JOBS.trials,
        series=JOBS.training_series,
        targets=JOBS.targets,
    output:
        stage=directory(f"{PATHS.model}/ridge"),
        model=PATHS.model_json,
    log:
        f"{PATHS.logs}/brain_diffuser_ridge/{MODEL}.log",
    benchmark:
        f"{PATHS.benchmarks}/brain_diffuser_ridge/{MODEL}.tsv"
    wildcard_constraints:
        run=JOBS.runs_of("brain_diffuser"),
    conda:
        f"{ROOT}/envs/train.yaml"
    # A card that is too small leaves the eigensolver to them.
    threads: 16 if CONFIG.gpus_per_job else 1
    resources:
        gpu=min(1, CONFIG.gpus_per_job),
        # Of 27,000 trials, products and eigenvectors are 5.8 GB each; the solver copies the products and
        # works in two more. Blocks of windows and targets, 5 GB. On a card that holds this, half of it.
        mem_mb=48000,
        # 355 TFLOP in float64: minutes on a card, two hours on 16 cores at 50 GFLOP/s in all.
        runtime=720,
    params:
        data=JOBS.data,
        settings=JOBS.stage_settings("ridge"),
        code=CODE.stage("brain_diffuser.ridge"),
    shell:
        "python -m boldvision gpu --gpus {resources.gpu:q} --"
        " python -m boldvision brain_diffuser.ridge --settings {params.settings:q}"
        " --data {params.data:q} --seed {wildcards.seed:q} --out {output.stage:q} &> {log:q}"
