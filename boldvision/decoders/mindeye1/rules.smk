rule mindeye1_high_level:
    """Train the map to CLIP tokens and the prior, jointly; checkpoints lie beside the output."""
    input:
        trials=JOBS.trials,
        series=JOBS.training_series,
        images=JOBS.images,
        targets=JOBS.stage_targets("high_level"),
        networks=JOBS.stage_networks("high_level"),
        deepspeed=JOBS.deepspeed("high_level"),
    output:
        directory(f"{PATHS.model}/high_level"),
    log:
        f"{PATHS.logs}/mindeye1_high_level/{MODEL}.log",
    benchmark:
        f"{PATHS.benchmarks}/mindeye1_high_level/{MODEL}.tsv"
    wildcard_constraints:
        run=JOBS.runs_of("mindeye1"),
    conda:
        f"{ROOT}/envs/train.yaml"
    threads: 4 * CONFIG.gpus_per_job or 1
    resources:
        gpu=CONFIG.gpus_per_job,
        # A process: torch, CUDA and CLIP 4 GB, the networks 5 until they are on the card. The main
        # process: a copy of each checkpoint, weights and both moments, 16 GB, while it is written.
        mem_mb=lambda wildcards: 20000 + 10000 * max(1, CONFIG.gpus_per_job),
        # 0.37 TFLOP x 32 x 66,240 steps: 2 hours of an A100 at half its peak, 6 to 20 below it.
        runtime=2880,
        # Not a parameter: it changes how the networks are trained, not what they are.
        job=JOBS.stage_job,
    params:
        data=JOBS.data,
        launch=JOBS.launch_options("high_level"),
        settings=JOBS.stage_settings("high_level"),
        code=CODE.stage("mindeye1.high_level"),
    shell:
        "python -m boldvision gpu --gpus {resources.gpu:q} --accelerate {params.launch:q} --"
        " -m boldvision mindeye1.high_level --settings {params.settings:q} --job {resources.job:q}"
        " --data {params.data:q} --seed {wildcards.seed:q} --out {output:q} &> {log:q}"


rule mindeye1_low_level:
    """Train the map to latents of a blurry picture; checkpoints lie beside the output."""
    input:
        trials=JOBS.trials,
        series=JOBS.training_series,
        images=JOBS.images,
        targets=JOBS.stage_targets("low_level"),
        networks=JOBS.stage_networks("low_level"),
        deepspeed=JOBS.deepspeed("low_level"),
    output:
        directory(f"{PATHS.model}/low_level"),
    log:
        f"{PATHS.logs}/mindeye1_low_level/{MODEL}.log",
    benchmark:
        f"{PATHS.benchmarks}/mindeye1_low_level/{MODEL}.tsv"
    wildcard_constraints:
        run=JOBS.runs_of("mindeye1"),
    conda:
        f"{ROOT}/envs/train.yaml"
    threads: 4 * CONFIG.gpus_per_job or 1
    resources:
        gpu=CONFIG.gpus_per_job,
        # A process: torch, CUDA and the teacher 5 GB, the network 2. A copy of each checkpoint: 6 GB.
        mem_mb=lambda wildcards: 10000 + 8000 * max(1, CONFIG.gpus_per_job),
        # 2 x 0.64 TFLOP of the teacher and the network's own x 8 x 132,840 steps, in TensorFloat-32.
        runtime=2880,
        job=JOBS.stage_job,
    params:
        data=JOBS.data,
        launch=JOBS.launch_options("low_level"),
        settings=JOBS.stage_settings("low_level"),
        code=CODE.stage("mindeye1.low_level"),
    shell:
        "python -m boldvision gpu --gpus {resources.gpu:q} --accelerate {params.launch:q} --"
        " -m boldvision mindeye1.low_level --settings {params.settings:q} --job {resources.job:q}"
        " --data {params.data:q} --seed {wildcards.seed:q} --out {output:q} &> {log:q}"


rule mindeye1_model:
    """List what both stages made: neither reads the other, so a change of one trains one."""
    input:
        rules.mindeye1_high_level.output,
        rules.mindeye1_low_level.output,
    output:
        PATHS.model_json,
    log:
        f"{PATHS.logs}/mindeye1_model/{MODEL}.log",
    wildcard_constraints:
        run=JOBS.runs_of("mindeye1"),
    localrule: True
    conda:
        f"{ROOT}/envs/train.yaml"
    params:
        folder=subpath(output[0], parent=True),
        code=CODE.stage("model"),
    shell:
        "python -m boldvision model --decoder mindeye1 --model {params.folder:q} &> {log:q}"
