rule fetch_weights:
    """Networks of the metrics, fetched and checked once: compute nodes can be offline."""
    output:
        f"{CONFIG.metrics.weights_folder}/{CONFIG.dataset}.tsv",
    log:
        f"logs/{CONFIG.dataset}/fetch_weights.log",
    conda:
        "../../envs/evaluate.yaml"
    resources:
        downloads=1,
    params:
        settings=as_json(**JOBS.fetched_metrics()),
    shell:
        "python -m boldvision weights --settings {params.settings:q} --out {output:q} &> {log:q}"


rule evaluate:
    """Score the pictures of a test set, per image and pooled."""
    input:
        pictures=f"{RESULTS}/reconstructions/{MODEL}/{{subject}}/{{test_set}}",
        images=f"{RESOURCES}/images/{{subject}}.h5",
        weights=rules.fetch_weights.output,
    output:
        scores=f"{RESULTS}/metrics/{MODEL}/{{subject}}/{{test_set}}.{{metrics}}.parquet",
        summary=f"{RESULTS}/metrics/{MODEL}/{{subject}}/{{test_set}}.{{metrics}}.json",
    log:
        f"logs/{CONFIG.dataset}/evaluate/{MODEL}/{{subject}}/{{test_set}}.{{metrics}}.log",
    benchmark:
        f"benchmarks/{CONFIG.dataset}/evaluate/{MODEL}/{{subject}}/{{test_set}}.{{metrics}}.tsv"
    conda:
        "../../envs/evaluate.yaml"
    resources:
        gpu=min(1, CONFIG.gpus_per_job),
    params:
        cache=f"{RESULTS}/stimulus_features",
        settings=lambda wildcards: as_json(
            **CONFIG.metrics.model_dump(mode="json", exclude={"sets"}),
            sets={},
            set=CONFIG.metrics.sets[wildcards.metrics],
        ),
        code=fingerprint("boldvision.metrics"),
    shell:
        "HF_HUB_OFFLINE=1 python -m boldvision gpu --gpus {resources.gpu:q} --"
        " python -m boldvision evaluate --reconstructions {input.pictures:q}"
        " --images {input.images:q} --settings {params.settings:q} --cache {params.cache:q}"
        " --seed {wildcards.seed:q} --threads {threads:q}"
        " --out {output.scores:q} --summary {output.summary:q} &> {log:q}"
