rule mean_image_train:
    """The mean training image: what a decoder that ignores BOLD can do."""
    input:
        trials=JOBS.trials,
        images=JOBS.images,
    output:
        stage=directory(f"{PATHS.model}/train"),
        model=PATHS.model_json,
    log:
        f"{PATHS.logs}/mean_image_train/{MODEL}.log",
    benchmark:
        f"{PATHS.benchmarks}/mean_image_train/{MODEL}.tsv"
    wildcard_constraints:
        run=JOBS.runs_of("mean_image"),
    conda:
        f"{ROOT}/envs/train.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        data=JOBS.data,
        settings=JOBS.stage_settings("train"),
        code=CODE.stage("mean_image.train"),
    shell:
        "python -m boldvision mean_image.train --settings {params.settings:q}"
        " --data {params.data:q} --seed {wildcards.seed:q} --out {output.stage:q} &> {log:q}"
