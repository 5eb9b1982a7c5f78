rule miniature_bucket:
    """Simulate a small NSD: its bucket with COCO's captions, fMRIPrep's derivatives of it, and its known answer."""
    output:
        bucket=directory(f"{RESOURCES}/bucket"),
        truth=directory(f"{RESOURCES}/truth"),
        derivatives=directory(f"{RESOURCES}/derivatives"),
    log:
        f"{PATHS.logs}/miniature_bucket.log",
    benchmark:
        f"{PATHS.benchmarks}/miniature_bucket.tsv"
    conda:
        "../../envs/signal.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=as_json(
            miniature=CONFIG.miniature, subjects=CONFIG.subjects, design=CONFIG.design
        ),
        code=CODE.stage("miniature"),
    shell:
        "python -m boldvision miniature --settings {params.settings:q}"
        " --bucket {output.bucket:q} --truth {output.truth:q}"
        " --derivatives {output.derivatives:q} &> {log:q}"


rule pretrain_generator:
    """Train the tiny generator whose weights ship with the project (about 20 minutes on one core)."""
    output:
        directory("resources/generators/tiny"),
    log:
        "logs/pretrain_generator.log",
    benchmark:
        "benchmarks/pretrain_generator.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        settings=(
            as_json(**CONFIG.generators["tiny"].model_dump())
            if "tiny" in CONFIG.generators
            else "{}"
        ),
        code=CODE.stage("pretrain"),
    shell:
        "python -m boldvision pretrain --settings {params.settings:q} --out {output:q} &> {log:q}"


rule pretrain_dual_generator:
    """Likewise, the one that an image and a text condition (about 10 minutes on one core)."""
    input:
        clip=lambda wildcards: shipped(CONFIG.network("clip").folder),
        start=lambda wildcards: shipped(CONFIG.generators["tiny"].folder),
    output:
        directory("resources/generators/tiny_dual"),
    log:
        "logs/pretrain_dual_generator.log",
    benchmark:
        "benchmarks/pretrain_dual_generator.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        settings=lambda wildcards: as_json(
            **CONFIG.generators["tiny_dual"].model_dump()
        ),
        clip=lambda wildcards, input: as_json(
            **CONFIG.network("clip").model_dump() | {"folder": input.clip}
        ),
        code=CODE.stage("pretrain"),
    shell:
        "python -m boldvision pretrain --settings {params.settings:q} --clip {params.clip:q}"
        " --start {input.start:q} --scenes 8000 --unet-steps 2800 --batch-size 48"
        " --out {output:q} &> {log:q}"


rule pretrain_network:
    """Train a small network whose weights ship with the project; a GPU is used if there is one."""
    output:
        directory("resources/networks/tiny/{kind}"),
    log:
        "logs/pretrain_network/{kind}.log",
    benchmark:
        "benchmarks/pretrain_network/{kind}.tsv"
    wildcard_constraints:
        kind=JOBS.pretrained_networks(),
    conda:
        "../../envs/train.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        code=lambda wildcards: CODE.fingerprint(
            "boldvision.networks.stage",
            f"boldvision.networks.{wildcards.kind}.pretrain",
        ),
    shell:
        "python -m boldvision pretrain_network --kind {wildcards.kind:q} --out {output:q} &> {log:q}"
