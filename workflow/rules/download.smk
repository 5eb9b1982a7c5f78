rule download_experiment:
    """Design of the experiment."""
    input:
        BUCKET_FOLDER,
    output:
        expdesign=f"{RESOURCES}/nsddata/experiments/nsd/nsd_expdesign.mat",
        ledger=f"{RESOURCES}/ledger/experiment.tsv",
    log:
        f"logs/{CONFIG.dataset}/download_experiment.log",
    retries: RETRIES
    conda:
        "../../envs/signal.yaml"
    resources:
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
        roi=f"{RESOURCES}/nsddata/ppdata/{{subject}}/func1pt8mm/roi/nsdgeneral.nii.gz",
        designs=directory(
            f"{RESOURCES}/nsddata_timeseries/ppdata/{{subject}}/func1pt8mm/design"
        ),
        ledger=f"{RESOURCES}/ledger/{{subject}}/subject.tsv",
    log:
        f"logs/{CONFIG.dataset}/download_subject/{{subject}}.log",
    retries: RETRIES
    conda:
        "../../envs/signal.yaml"
    resources:
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
    """BOLD of the task runs of one session; removed once it is prepared."""
    input:
        BUCKET_FOLDER,
    output:
        series=temp(
            directory(
                f"{RESOURCES}/nsddata_timeseries/ppdata/{{subject}}/func1pt8mm/timeseries/session{{session}}"
            )
        ),
        ledger=f"{RESOURCES}/ledger/{{subject}}/session{{session}}.tsv",
    log:
        f"logs/{CONFIG.dataset}/download_session/{{subject}}/session{{session}}.log",
    retries: RETRIES
    conda:
        "../../envs/signal.yaml"
    resources:
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
        images=f"{RESOURCES}/images/{{subject}}.h5",
        ledger=f"{RESOURCES}/ledger/{{subject}}/images.tsv",
    log:
        f"logs/{CONFIG.dataset}/download_images/{{subject}}.log",
    retries: RETRIES
    conda:
        "../../envs/signal.yaml"
    resources:
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
