rule download_stimulus_table:
    """Which image of COCO each image is."""
    input:
        BUCKET_FOLDER,
    output:
        table=PATHS.stimulus_table,
        ledger=f"{RESOURCES}/ledger/stimulus_table.tsv",
    log:
        f"{PATHS.logs}/download_stimulus_table.log",
    benchmark:
        f"{PATHS.benchmarks}/download_stimulus_table.tsv"
    retries: RETRIES
    localrule: True
    conda:
        "../../envs/signal.yaml"
    resources:
        mem_mb=1000,
        runtime=60,
        downloads=1,
        # Not a parameter: another copy of the bucket is no reason to fetch anew.
        source=JOBS.source,
    params:
        served=JOBS.served("nsddata/experiments/"),
        endpoint=JOBS.endpoint,
        root=subpath(output.ledger, ancestor=2),
    shell:
        "{params.served} python -m boldvision fetch stimulus_table --settings '{{}}' --source {resources.source:q}"
        " --root {params.root:q} --ledger {output.ledger:q} {params.endpoint:q} &> {log:q}"


rule download_annotations:
    """COCO's captions of all its images, 250 MB."""
    input:
        BUCKET_FOLDER,
    output:
        archive=PATHS.annotations,
        ledger=f"{RESOURCES}/ledger/annotations.tsv",
    log:
        f"{PATHS.logs}/download_annotations.log",
    benchmark:
        f"{PATHS.benchmarks}/download_annotations.tsv"
    retries: RETRIES
    localrule: True
    conda:
        "../../envs/signal.yaml"
    resources:
        mem_mb=1000,
        runtime=60,
        downloads=1,
        # Not a parameter: another server is no reason to fetch anew.
        source=lambda wildcards: as_json(coco=CONFIG.coco),
    params:
        served=JOBS.coco_served,
        endpoint=JOBS.endpoint,
        root=subpath(output.ledger, ancestor=2),
        settings=lambda wildcards: as_json(coco={"sha256": CONFIG.coco.sha256}),
    shell:
        "{params.served} python -m boldvision fetch annotations --settings {params.settings:q}"
        " --source {resources.source:q} --out {output.archive:q} --root {params.root:q} --ledger {output.ledger:q}"
        " {params.endpoint:q} &> {log:q}"


rule list_captions:
    """What people said of the images of a subject."""
    input:
        expdesign=rules.download_experiment.output.expdesign,
        table=rules.download_stimulus_table.output.table,
        annotations=JOBS.annotations,
    output:
        PATHS.captions,
    log:
        f"{PATHS.logs}/list_captions/{{subject}}.log",
    benchmark:
        f"{PATHS.benchmarks}/list_captions/{{subject}}.tsv"
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
        code=CODE.stage("captions"),
    shell:
        "python -m boldvision captions --expdesign {input.expdesign:q} --table {input.table:q}"
        " --annotations {input.annotations:q} --settings {params.settings:q} --out {output:q} &> {log:q}"
