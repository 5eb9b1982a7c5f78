rule split_trials:
    """Which trials train and which test: one file per split, so a change of one trains no other."""
    input:
        trials=PATHS.trials,
    output:
        PATHS.split,
    log:
        f"{PATHS.logs}/split_trials/{{split}}/{{subject}}.log",
    benchmark:
        f"{PATHS.benchmarks}/split_trials/{{split}}/{{subject}}.tsv"
    conda:
        "../../envs/signal.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        settings=JOBS.split_settings,
        code=lambda wildcards: CODE.fingerprint(
            "boldvision.trials.stage", f"boldvision.trials.splits.{wildcards.split}"
        ),
    shell:
        "python -m boldvision split --trials {input.trials:q} --split {wildcards.split:q}"
        " --subject {wildcards.subject:q} --settings {params.settings:q} --out {output:q} &> {log:q}"
