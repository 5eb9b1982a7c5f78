rule reconstruct:
    """Pictures of every window of a test set, in one job that loads the model once."""
    input:
        model=PATHS.model_json,
        trials=JOBS.tested_trials,
        series=JOBS.tested_series,
        also=JOBS.also_read,
        generators=JOBS.generators,
        networks=JOBS.networks,
    output:
        directory(PATHS.pictures),
    log:
        f"{PATHS.logs}/reconstruct/{MODEL}/{{subject}}/{{test_set}}.log",
    benchmark:
        f"{PATHS.benchmarks}/reconstruct/{MODEL}/{{subject}}/{{test_set}}.tsv"
    conda:
        JOBS.environment
    resources:
        gpu=min(1, CONFIG.gpus_per_job),
        # Torch and CUDA 2 GB; until they are on the card, the U-Net 3.4, the VAE 0.3, the brain module
        # 1.4, and the file that was trained 1.4, or 4.8 with `finetune: all`. Brain-Diffuser: eigenvectors
        # 5.8 until they are on the card; then 3,000 windows, 2.3, and what is predicted of them, 4.2.
        mem_mb=more_each_try(16000),
        runtime=2880,  # the 16 windows of a model: a day
    params:
        folder=subpath(input.model, parent=True),
        data=JOBS.data,
        settings=JOBS.reconstruction_settings,
        code=lambda wildcards: CODE.fingerprint(
            "boldvision.decoders.reconstruct",
            f"boldvision.decoders.{CONFIG.run(wildcards.run).decoder}.decoder",
        ),
    shell:
        "python -m boldvision gpu --gpus {resources.gpu:q} --"
        " python -m boldvision reconstruct --settings {params.settings:q} --data {params.data:q}"
        " --model {params.folder:q} --seed {wildcards.seed:q} --out {output:q} &> {log:q}"
