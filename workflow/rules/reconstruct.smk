rule reconstruct:
    """Pictures of every window of a test set, in one job that loads the model once."""
    input:
        model=f"{RESULTS}/models/{MODEL}/model.safetensors",
        record=f"{RESULTS}/models/{MODEL}/training.json",
        trials=f"{RESULTS}/trials/{{subject}}.parquet",
        series=JOBS.series,
        generator=JOBS.generator_files,
    output:
        directory(f"{RESULTS}/reconstructions/{MODEL}/{{subject}}/{{test_set}}"),
    log:
        f"logs/{CONFIG.dataset}/reconstruct/{MODEL}/{{subject}}/{{test_set}}.log",
    benchmark:
        f"benchmarks/{CONFIG.dataset}/reconstruct/{MODEL}/{{subject}}/{{test_set}}.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        gpu=min(1, CONFIG.gpus_per_job),
    params:
        folder=subpath(input.model, parent=True),
        bold=JOBS.bold,
        settings=JOBS.reconstruction_settings,
        code=fingerprint(
            "boldvision.decoders.reconstruct",
            "boldvision.generators.base",
            "boldvision.generators.images",
            "boldvision.generators.sampler",
            "boldvision.seeds",
            "boldvision.trials.windows",
        ),
    shell:
        "python -m boldvision gpu --gpus {resources.gpu:q} --"
        " python -m boldvision reconstruct --settings {params.settings:q}"
        " --model {params.folder:q} --subjects {wildcards.subject:q} --bold {params.bold:q}"
        " --trials {input.trials:q} --seed {wildcards.seed:q} --out {output:q} &> {log:q}"
