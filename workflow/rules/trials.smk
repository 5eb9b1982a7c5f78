rule list_trials:
    """One row per trial, checked against every design file, with its splits."""
    input:
        expdesign=rules.download_experiment.output.expdesign,
        designs=rules.download_subject.output.designs,
    output:
        f"{RESULTS}/trials/{{subject}}.parquet",
    log:
        f"logs/{CONFIG.dataset}/list_trials/{{subject}}.log",
    conda:
        "../../envs/signal.yaml"
    params:
        settings=lambda wildcards: as_json(
            subject=CONFIG.subjects[wildcards.subject],
            design=CONFIG.design,
            time_resolved_test_runs=CONFIG.time_resolved_test_runs,
            seed=CONFIG.seed,
        ),
        code=fingerprint(
            "boldvision.trials.table",
            "boldvision.trials.splits",
            "boldvision.datasets.nsd.design",
            "boldvision.datasets.nsd.runs",
            "boldvision.seeds",
        ),
    shell:
        "python -m boldvision trials --expdesign {input.expdesign:q} --designs {input.designs:q}"
        " --subject {wildcards.subject:q} --settings {params.settings:q} --out {output:q} &> {log:q}"
