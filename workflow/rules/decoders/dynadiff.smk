rule dynadiff_train:
    """Train brain module and adapters jointly; checkpoints lie beside the output."""
    input:
        series=JOBS.training_series,
        pretrained=JOBS.pretrained,
        trials=expand(
            f"{RESULTS}/trials/{{subject}}.parquet", subject=JOBS.trained_subjects
        ),
        latents=expand(
            f"{RESULTS}/latents/{{generator}}/{{subject}}.h5",
            generator=lambda wildcards: CONFIG.run(wildcards.run).generator,
            subject=JOBS.trained_subjects,
        ),
        generator=JOBS.generator_files,
    output:
        model=f"{RESULTS}/models/{MODEL}/model.safetensors",
        record=f"{RESULTS}/models/{MODEL}/training.json",
    log:
        f"logs/{CONFIG.dataset}/dynadiff_train/{MODEL}.log",
    benchmark:
        f"benchmarks/{CONFIG.dataset}/dynadiff_train/{MODEL}.tsv"
    wildcard_constraints:
        run=JOBS.runs_of("dynadiff"),
    conda:
        "../../../envs/train.yaml"
    resources:
        gpu=CONFIG.gpus_per_job,
        # Not a parameter: it changes how the model is trained, not the model.
        job=JOBS.training_job,
    params:
        out=subpath(output.model, parent=True),
        subjects=JOBS.trained_subjects,
        bold=JOBS.bold,
        launch=JOBS.launch_options,
        start=JOBS.start_options,
        settings=JOBS.run_settings,
        code=fingerprint(
            "boldvision.decoders.dynadiff",
            "boldvision.decoders.model_file",
            "boldvision.training",
            "boldvision.seeds",
            "boldvision.generators.base",
            "boldvision.generators.latents",
            "boldvision.trials.windows",
            "boldvision.generators.timesteps",
        ),
    shell:
        "python -m boldvision gpu --gpus {resources.gpu:q} --accelerate"
        " {params.launch:q} -- -m boldvision train --settings {params.settings:q}"
        " --job {resources.job:q}"
        " --subjects {params.subjects:q} --bold {params.bold:q} --trials {input.trials:q}"
        " --latents {input.latents:q} --seed {wildcards.seed:q}"
        " {params.start:q} --out {params.out:q} &> {log:q}"
