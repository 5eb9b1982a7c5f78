def reconstruction_settings(wildcards):
    """Settings of a reconstruction, as JSON: run, generator, windows by name and trials."""
    run = CONFIG.run(wildcards.run)
    names = test_windows(CONFIG, wildcards.test_set, own=wildcards.window)
    return as_json(
        run=run,
        generator=(
            CONFIG.generators[run.generator] if hasattr(run, "generator") else None
        ),
        windows={name: CONFIG.window(name) for name in names},
        trials=CONFIG.test_sets[wildcards.test_set].trials,
        batch_size=(
            run.reconstruction.batch_size if hasattr(run, "reconstruction") else 64
        ),
    )


rule reconstruct:
    """Pictures of every window of a test set, in one job that loads the model once."""
    input:
        model=f"{RESULTS}/models/{MODEL}/model.safetensors",
        record=f"{RESULTS}/models/{MODEL}/training.json",
        trials=f"{RESULTS}/trials/{{subject}}.parquet",
        series=lambda wildcards: clean_series(wildcards.run, wildcards.subject),
    output:
        directory(f"{RESULTS}/reconstructions/{MODEL}/{{subject}}/{{test_set}}"),
    log:
        f"logs/{CONFIG.dataset}/reconstruct/{MODEL}/{{subject}}/{{test_set}}.log",
    benchmark:
        f"benchmarks/{CONFIG.dataset}/reconstruct/{MODEL}/{{subject}}/{{test_set}}.tsv"
    resources:
        gpu=CONFIG.gpus_per_job,
    params:
        folder=subpath(input.model, parent=True),
        bold=lambda wildcards: bold_folder(wildcards.run, wildcards.subject),
        settings=reconstruction_settings,
        code=fingerprint(
            "boldvision.decoders.reconstruct",
            "boldvision.generators.sampler",
            "boldvision.trials.windows",
        ),
    shell:
        "python -m boldvision gpu --gpus {resources.gpu} --"
        " python -m boldvision reconstruct --settings {params.settings:q}"
        " --model {params.folder} --subjects {wildcards.subject} --bold {params.bold}"
        " --trials {input.trials} --seed {wildcards.seed} --out {output} &> {log}"
