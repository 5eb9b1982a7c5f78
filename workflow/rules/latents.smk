rule encode_latents:
    """VAE posteriors of a subject's images, once for all runs."""
    input:
        images=rules.download_images.output.images,
    output:
        f"{RESULTS}/latents/{{generator}}/{{subject}}.h5",
    log:
        f"logs/{CONFIG.dataset}/encode_latents/{{generator}}/{{subject}}.log",
    resources:
        gpu=CONFIG.gpus_per_job,
    params:
        settings=lambda wildcards: as_json(
            **CONFIG.generators[wildcards.generator].model_dump(mode="json")
        ),
        code=fingerprint(
            "boldvision.generators.latents", "boldvision.generators.images"
        ),
    shell:
        "python -m boldvision gpu --gpus {resources.gpu} --"
        " python -m boldvision latents --settings {params.settings:q} --images {input.images}"
        " --out {output} &> {log}"
