rule mean_image_train:
    """The mean training image: what a decoder that ignores BOLD can do."""
    input:
        trials=of_training_subjects(f"{RESULTS}/trials/{{subject}}.parquet"),
        images=of_training_subjects(f"{RESOURCES}/images/{{subject}}.h5"),
    output:
        model=f"{RESULTS}/models/{MODEL}/model.safetensors",
        record=f"{RESULTS}/models/{MODEL}/training.json",
    log:
        f"logs/{CONFIG.dataset}/mean_image_train/{MODEL}.log",
    wildcard_constraints:
        run=runs_of("mean_image"),
    params:
        out=subpath(output.model, parent=True),
        subjects=lambda wildcards: wildcards.subjects.split("+"),
        settings=run_settings,
        code=fingerprint("boldvision.decoders.mean_image"),
    shell:
        "python -m boldvision train --settings {params.settings:q} --subjects {params.subjects}"
        " --trials {input.trials} --images {input.images} --seed {wildcards.seed}"
        " --out {params.out} &> {log}"
