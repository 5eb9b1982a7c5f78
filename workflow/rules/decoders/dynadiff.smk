rule dynadiff_train:
    """Train brain module and adapters jointly; checkpoints lie beside the output."""
    input:
        series=training_series,
        trials=of_training_subjects(f"{RESULTS}/trials/{{subject}}.parquet"),
        latents=lambda wildcards: expand(
            f"{RESULTS}/latents/{{generator}}/{{subject}}.h5",
            generator=CONFIG.run(wildcards.run).generator,
            subject=wildcards.subjects.split("+"),
        ),
    output:
        model=f"{RESULTS}/models/{MODEL}/model.safetensors",
        record=f"{RESULTS}/models/{MODEL}/training.json",
    log:
        f"logs/{CONFIG.dataset}/dynadiff_train/{MODEL}.log",
    benchmark:
        f"benchmarks/{CONFIG.dataset}/dynadiff_train/{MODEL}.tsv"
    wildcard_constraints:
        run=runs_of("dynadiff"),
    resources:
        gpu=CONFIG.gpus_per_job,
    params:
        out=subpath(output.model, parent=True),
        subjects=lambda wildcards: wildcards.subjects.split("+"),
        bold=lambda wildcards: [
            bold_folder(wildcards.run, subject)
            for subject in wildcards.subjects.split("+")
        ],
        precision=lambda wildcards: CONFIG.run(wildcards.run).training.precision,
        settings=run_settings,
        code=fingerprint(
            "boldvision.decoders.dynadiff",
            "boldvision.training",
            "boldvision.generators.base",
        ),
    shell:
        "python -m boldvision gpu --gpus {resources.gpu} --accelerate"
        " --precision {params.precision} -- -m boldvision train --settings {params.settings:q}"
        " --subjects {params.subjects} --bold {params.bold} --trials {input.trials}"
        " --latents {input.latents} --seed {wildcards.seed} --out {params.out} &> {log}"
