rule download_generator:
    """Networks of a published generator, at a pinned revision."""
    output:
        directory("{folder}"),
    log:
        "logs/download_generator/{folder}.log",
    benchmark:
        "benchmarks/download_generator/{folder}.tsv"
    wildcard_constraints:
        folder=one_of(JOBS.fetched_generators),
    retries: 3
    localrule: True
    conda:
        "../../envs/train.yaml"
    resources:
        downloads=1,
        mem_mb=4000,
        runtime=240,
        # Not a parameter: a folder that was fetched before there were several kinds is good.
        kind=lambda wildcards: JOBS.fetched_generators[wildcards.folder].kind,
    params:
        repository=lambda wildcards: JOBS.fetched_generators[
            wildcards.folder
        ].repository,
        revision=lambda wildcards: JOBS.fetched_generators[wildcards.folder].revision,
    shell:
        "python -m boldvision generator --repository {params.repository:q}"
        " --revision {params.revision:q} --kind {resources.kind:q} --out {output:q} &> {log:q}"


rule download_network:
    """A published frozen network, at pinned addresses and digests, converted to what is read here."""
    output:
        directory("{folder}"),
    log:
        "logs/download_network/{folder}.log",
    benchmark:
        "benchmarks/download_network/{folder}.tsv"
    wildcard_constraints:
        folder=one_of(JOBS.fetched_networks),
    retries: 3
    localrule: True
    conda:
        "../../envs/train.yaml"
    resources:
        downloads=1,
        # The largest checkpoint, 1.7 GB, while it is converted.
        mem_mb=8000,
        runtime=240,
    params:
        settings=JOBS.network_settings,
    shell:
        "python -m boldvision network --settings {params.settings:q} --out {output:q} &> {log:q}"


rule encode_target:
    """What a frozen network makes of a subject's images, once for all runs."""
    input:
        images=PATHS.images,
        captions=JOBS.target_captions,
        generators=JOBS.target_generators,
        networks=JOBS.target_networks,
    output:
        PATHS.target,
    log:
        f"{PATHS.logs}/encode_target/{{target}}/{{subject}}.log",
    benchmark:
        f"{PATHS.benchmarks}/encode_target/{{target}}/{{subject}}.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        gpu=min(1, CONFIG.gpus_per_job),
        # Torch and CUDA 2 GB, 8 pictures 0.5; images and what is made of them are mapped. The largest
        # network is CLIP, 1.7 GB in float32, which is there twice while it is read.
        mem_mb=more_each_try(8000),
        runtime=240,  # 10,000 x 1.1 TFLOP: 6 minutes of an A100 at a tenth of its peak
    params:
        settings=JOBS.target_settings,
        captions=lambda wildcards, input: [
            f"--captions={file}" for file in input.captions
        ],
        code=lambda wildcards: CODE.fingerprint(
            "boldvision.targets.stage",
            f"boldvision.targets.{CONFIG.target(wildcards.target).kind}.network",
        ),
    shell:
        "python -m boldvision gpu --gpus {resources.gpu:q} --"
        " python -m boldvision target --settings {params.settings:q} --images {input.images:q}"
        " {params.captions:q} --out {output:q} &> {log:q}"
