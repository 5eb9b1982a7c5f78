rule dynadiff_train:
    """Train brain module and adapters jointly; checkpoints lie beside the output."""
    input:
        series=PLAN.training_series,
        pretrained=PLAN.pretrained,
        trials=expand(
            f"{RESULTS}/trials/{{subject}}.parquet", subject=PLAN.trained_subjects
        ),
        latents=expand(
            f"{RESULTS}/latents/{{generator}}/{{subject}}.h5",
            generator=lambda wildcards: PLAN.run(wildcards.run).generator,
            subject=PLAN.trained_subjects,
        ),
        generator=PLAN.generator_files,
    output:
        model=f"{RESULTS}/models/{MODEL}/model.safetensors",
        record=f"{RESULTS}/models/{MODEL}/training.json",
    log:
        f"logs/{CONFIG.dataset}/dynadiff_train/{MODEL}.log",
    benchmark:
        f"benchmarks/{CONFIG.dataset}/dynadiff_train/{MODEL}.tsv"
    wildcard_constraints:
        run=PLAN.runs_of("dynadiff"),
    conda:
        "../../../envs/train.yaml"
    resources:
        gpu=CONFIG.gpus_per_job,
        # Not a parameter: it changes how the model is trained, not the model.
        job=PLAN.training_job,
    params:
        out=subpath(output.model, parent=True),
        subjects=PLAN.trained_subjects,
        bold=PLAN.bold,
        launch=PLAN.launch_options,
        start=PLAN.start_options,
        settings=PLAN.run_settings,
        code=fingerprint(
            "boldvision.decoders.dynadiff",
            "boldvision.training",
            "boldvision.generators.base",
            "boldvision.generators.latents",
            "boldvision.trials.windows",
            "boldvision.generators.timesteps",
        ),
    shell:
        "python -m boldvision gpu --gpus {resources.gpu} --accelerate"
        " {params.launch:q} -- -m boldvision train --settings {params.settings:q}"
        " --job {resources.job:q}"
        " --subjects {params.subjects} --bold {params.bold} --trials {input.trials}"
        " --latents {input.latents} --seed {wildcards.seed}"
        " {params.start:q} --out {params.out} &> {log}"
