rule plan_paper:
    """Print models, GPU hours and disk of each table and figure; without output, it always runs."""
    log:
        f"{PATHS.logs}/plan_paper.log",
    localrule: True
    conda:
        "../../envs/train.yaml"
    params:
        config=config,
    script:
        "../scripts/plan_paper.py"


rule benchmark_gpu:
    """Measure a GPU, which `plan_paper` then goes by; `--force` measures again."""
    log:
        f"{PATHS.logs}/benchmark_gpu.log",
    benchmark:
        f"{PATHS.benchmarks}/benchmark_gpu.tsv"
    conda:
        "../../envs/evaluate.yaml"
    resources:
        gpu=min(1, CONFIG.gpus_per_job),
        mem_mb=24000,
        runtime=30,
    params:
        settings=as_json(**config),
        out=PATHS.benchmark_gpu,
    shell:
        "python -m boldvision gpu --gpus {resources.gpu:q} --"
        " python -m boldvision benchmark --settings {params.settings:q} --out {params.out:q}"
        " &> {log:q}"
