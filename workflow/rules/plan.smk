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
