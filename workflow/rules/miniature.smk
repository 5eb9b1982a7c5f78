rule miniature_bucket:
    """Simulate a small NSD: its bucket, fMRIPrep's derivatives of it, and its known answer."""
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
