rule download_experiment:
    """Design of the experiment."""
    input:
        BUCKET_FOLDER,
    output:
        expdesign=PATHS.expdesign,
        ledger=f"{RESOURCES}/ledger/experiment.tsv",
    log:
        f"{PATHS.logs}/download_experiment.log",
    benchmark:
        f"{PATHS.benchmarks}/download_experiment.tsv"
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
        settings=JOBS.fetch_settings,
    shell:
        "{params.served} python -m boldvision fetch experiment --settings {params.settings:q} --source {resources.source:q}"
        " --root {params.root:q} --ledger {output.ledger:q} {params.endpoint:q} &> {log:q}"


rule download_subject:
    """Region of interest and the design of every run of a subject."""
    input:
        BUCKET_FOLDER,
    output:
        roi=PATHS.roi,
        designs=directory(PATHS.designs),
        ledger=f"{RESOURCES}/ledger/{{subject}}/subject.tsv",
    log:
        f"{PATHS.logs}/download_subject/{{subject}}.log",
    benchmark:
        f"{PATHS.benchmarks}/download_subject/{{subject}}.tsv"
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
        served=JOBS.served(
            "nsddata/ppdata/{subject}/",
            "nsddata_timeseries/ppdata/{subject}/func1pt8mm/design/",
        ),
        endpoint=JOBS.endpoint,
        root=subpath(output.ledger, ancestor=3),
        settings=JOBS.fetch_settings,
    shell:
        "{params.served} python -m boldvision fetch subject --subject {wildcards.subject:q}"
        " --settings {params.settings:q} --source {resources.source:q} --root {params.root:q} --ledger {output.ledger:q}"
        " {params.endpoint:q} &> {log:q}"


rule download_session:
    """BOLD of the task runs of one session; removed once it is prepared, unless it is kept."""
    input:
        BUCKET_FOLDER,
    output:
        series=RAW(PATHS.timeseries),
        ledger=f"{RESOURCES}/ledger/{{subject}}/session{{session}}.tsv",
    log:
        f"{PATHS.logs}/download_session/{{subject}}/session{{session}}.log",
    benchmark:
        f"{PATHS.benchmarks}/download_session/{{subject}}/session{{session}}.tsv"
    retries: RETRIES
    localrule: True
    conda:
        "../../envs/signal.yaml"
    resources:
        # 1.2 GB, streamed to disk.
        mem_mb=1000,
        runtime=120,
        downloads=1,
        # Not a parameter: another copy of the bucket is no reason to fetch anew.
        source=JOBS.source,
    params:
        served=JOBS.served(
            "nsddata_timeseries/ppdata/{subject}/func1pt8mm/timeseries/timeseries_session{session}"
        ),
        endpoint=JOBS.endpoint,
        root=subpath(output.ledger, ancestor=3),
        session=lambda wildcards: int(wildcards.session),
        settings=JOBS.fetch_settings,
    shell:
        "{params.served} python -m boldvision fetch session --subject {wildcards.subject:q}"
        " --session {params.session:q} --out {output.series:q} --settings {params.settings:q} --source {resources.source:q}"
        " --root {params.root:q} --ledger {output.ledger:q} {params.endpoint:q} &> {log:q}"


rule download_images:
    """The pictures that a subject saw: only those rows of the stimulus file."""
    input:
        BUCKET_FOLDER,
        expdesign=rules.download_experiment.output.expdesign,
    output:
        images=PATHS.images,
        ledger=f"{RESOURCES}/ledger/{{subject}}/images.tsv",
    log:
        f"{PATHS.logs}/download_images/{{subject}}.log",
    benchmark:
        f"{PATHS.benchmarks}/download_images/{{subject}}.tsv"
    retries: RETRIES
    localrule: True
    conda:
        "../../envs/signal.yaml"
    resources:
        # 10,000 ranges of 0.5 MB, 5.4 GB in all; a slab of them in memory.
        mem_mb=2000,
        runtime=480,
        downloads=1,
        # Not a parameter: another copy of the bucket is no reason to fetch anew.
        source=JOBS.source,
    params:
        served=JOBS.served("nsddata_stimuli/"),
        endpoint=JOBS.endpoint,
        root=subpath(output.ledger, ancestor=3),
        settings=JOBS.fetch_settings,
    shell:
        "{params.served} python -m boldvision fetch images --subject {wildcards.subject:q}"
        " --settings {params.settings:q} --source {resources.source:q} --root {params.root:q} --ledger {output.ledger:q}"
        " {params.endpoint:q} &> {log:q}"
