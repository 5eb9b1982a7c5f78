rule list_trials:
    """One row per trial, checked against every design file."""
    input:
        expdesign=rules.download_experiment.output.expdesign,
        designs=rules.download_subject.output.designs,
    output:
        PATHS.trials,
    log:
        f"{PATHS.logs}/list_trials/{{subject}}.log",
    benchmark:
        f"{PATHS.benchmarks}/list_trials/{{subject}}.tsv"
    conda:
        "../../envs/signal.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        settings=lambda wildcards: as_json(
            subject=CONFIG.subjects[wildcards.subject],
            design=CONFIG.design,
        ),
        code=CODE.stage("trials"),
    shell:
        "python -m boldvision trials --expdesign {input.expdesign:q} --designs {input.designs:q}"
        " --subject {wildcards.subject:q} --settings {params.settings:q} --out {output:q} &> {log:q}"
