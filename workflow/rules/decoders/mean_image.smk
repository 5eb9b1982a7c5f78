rule mean_image_train:
    """The mean training image: what a decoder that ignores BOLD can do."""
    input:
        trials=expand(
            f"{RESULTS}/trials/{{subject}}.parquet", subject=JOBS.trained_subjects
        ),
        images=expand(
            f"{RESOURCES}/images/{{subject}}.h5", subject=JOBS.trained_subjects
        ),
    output:
        model=f"{RESULTS}/models/{MODEL}/model.safetensors",
        record=f"{RESULTS}/models/{MODEL}/training.json",
    log:
        f"logs/{CONFIG.dataset}/mean_image_train/{MODEL}.log",
    wildcard_constraints:
        run=JOBS.runs_of("mean_image"),
    conda:
        "../../../envs/train.yaml"
    params:
        out=subpath(output.model, parent=True),
        subjects=JOBS.trained_subjects,
        settings=JOBS.run_settings,
        code=fingerprint(
            "boldvision.decoders.mean_image",
            "boldvision.decoders.model_file",
            "boldvision.generators.images",
        ),
    shell:
        "python -m boldvision train --settings {params.settings:q} --subjects {params.subjects:q}"
        " --trials {input.trials:q} --images {input.images:q} --seed {wildcards.seed:q}"
        " --out {params.out:q} &> {log:q}"
