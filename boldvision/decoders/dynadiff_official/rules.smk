from boldvision.decoders.dynadiff_official.files import checkpoint_files


rule dynadiff_official_convert:
    """Make a model of ours of the weights that the authors published."""
    input:
        weights=lambda wildcards: checkpoint_files(
            CONFIG.run(wildcards.run), wildcards.subjects
        ),
        trials=JOBS.trials,
        # One session says how many voxels there are.
        series=lambda wildcards: JOBS.training_series(wildcards)[:1],
        generators=JOBS.generators,
    output:
        stage=directory(f"{PATHS.model}/convert"),
        model=PATHS.model_json,
    log:
        f"{PATHS.logs}/dynadiff_official_convert/{MODEL}.log",
    benchmark:
        f"{PATHS.benchmarks}/dynadiff_official_convert/{MODEL}.tsv"
    wildcard_constraints:
        run=JOBS.runs_of("dynadiff_official"),
        subjects=one_of(CONFIG.subjects),
    conda:
        f"{ROOT}/envs/train.yaml"
    resources:
        mem_mb=12000,
        runtime=60,
    params:
        data=JOBS.data,
        settings=JOBS.stage_settings("convert"),
        code=CODE.stage("dynadiff_official.convert"),
    shell:
        "python -m boldvision dynadiff_official.convert --settings {params.settings:q}"
        " --data {params.data:q} --seed {wildcards.seed:q} --out {output.stage:q} &> {log:q}"
