rule download_generator:
    """Networks of a published generator, at a pinned revision."""
    output:
        directory("{folder}"),
    log:
        "logs/download_generator/{folder}.log",
    wildcard_constraints:
        folder=one_of(JOBS.fetched_generators),
    retries: 3
    conda:
        "../../envs/train.yaml"
    resources:
        downloads=1,
    params:
        repository=lambda wildcards: JOBS.fetched_generators[
            wildcards.folder
        ].repository,
        revision=lambda wildcards: JOBS.fetched_generators[wildcards.folder].revision,
    shell:
        "python -m boldvision generator --repository {params.repository:q}"
        " --revision {params.revision:q} --out {output:q} &> {log:q}"


rule encode_latents:
    """VAE posteriors of a subject's images, once for all runs."""
    input:
        images=rules.download_images.output.images,
        generator=JOBS.generator_files,
    output:
        f"{RESULTS}/latents/{{generator}}/{{subject}}.h5",
    log:
        f"logs/{CONFIG.dataset}/encode_latents/{{generator}}/{{subject}}.log",
    conda:
        "../../envs/train.yaml"
    resources:
        gpu=min(1, CONFIG.gpus_per_job),
    params:
        settings=lambda wildcards: as_json(**JOBS.generator(wildcards).model_dump()),
        code=fingerprint(
            "boldvision.generators.base",
            "boldvision.generators.latents",
            "boldvision.generators.images",
        ),
    shell:
        "python -m boldvision gpu --gpus {resources.gpu:q} --"
        " python -m boldvision latents --settings {params.settings:q} --images {input.images:q}"
        " --out {output:q} &> {log:q}"
