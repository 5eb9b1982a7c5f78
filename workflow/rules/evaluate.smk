rule fetch_weights:
    """Networks of the metrics, fetched and checked once."""
    output:
        f"{CONFIG.metrics.weights_folder}/{CONFIG.dataset}.tsv",
    log:
        f"{PATHS.logs}/fetch_weights.log",
    benchmark:
        f"{PATHS.benchmarks}/fetch_weights.tsv"
    retries: RETRIES
    localrule: True
    conda:
        "../../envs/evaluate.yaml"
    resources:
        downloads=1,
        mem_mb=1000,
        runtime=240,
    params:
        settings=as_json(**JOBS.fetched_metrics()),
    shell:
        "python -m boldvision weights --settings {params.settings:q} --out {output:q} &> {log:q}"


rule evaluate:
    """Score the pictures of a test set, per image and pooled."""
    input:
        pictures=PATHS.pictures,
        images=PATHS.images,
        generator=JOBS.decoding_generator,
        weights=rules.fetch_weights.output,
    output:
        scores=PATHS.scores,
        summary=PATHS.summary,
    log:
        f"{PATHS.logs}/evaluate/{MODEL}/{{subject}}/{{test_set}}.{{metrics}}.log",
    benchmark:
        f"{PATHS.benchmarks}/evaluate/{MODEL}/{{subject}}/{{test_set}}.{{metrics}}.tsv"
    conda:
        "../../envs/evaluate.yaml"
    threads: 8 if CONFIG.gpus_per_job else 1
    resources:
        gpu=min(1, CONFIG.gpus_per_job),
        mem_mb=more_each_try(16000),
        runtime=240,
    params:
        cache=PATHS.stimulus_features,
        kept=PATHS.kept_scores,
        settings=JOBS.metrics_settings,
        decode=JOBS.decoding_options,
        code=CODE.stage("evaluate"),
    shell:
        "HF_HUB_OFFLINE=1 python -m boldvision gpu --gpus {resources.gpu:q} --"
        " python -m boldvision evaluate --reconstructions {input.pictures:q}"
        " --images {input.images:q} --settings {params.settings:q} {params.decode:q} --cache {params.cache:q}"
        " --kept {params.kept:q} --seed {wildcards.seed:q} --threads {threads:q}"
        " --out {output.scores:q} --summary {output.summary:q} &> {log:q}"
