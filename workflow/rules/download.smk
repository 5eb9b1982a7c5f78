# In the miniature, every download is wrapped in a server of the simulated bucket on loopback.
SERVED = CONFIG.s3.serve is not None
BUCKET_FOLDER = CONFIG.s3.serve if SERVED else []


def served(*prefixes):
    """Beginning of a command that downloads keys with these prefixes."""
    if not SERVED:
        return ""
    folder, bucket = CONFIG.s3.serve, CONFIG.s3.bucket
    return f"python -m boldvision serve {folder} --bucket {bucket} --prefix {' '.join(prefixes)} --"


def endpoint(wildcards):
    """Where `serve` puts the address of its server."""
    return "--endpoint {endpoint}" if SERVED else ""


def fetch_settings(subject=None):
    """What a download depends on, as JSON."""
    return as_json(
        s3=CONFIG.s3,
        nsd_terms_accepted=CONFIG.nsd_terms_accepted,
        raw=CONFIG.raw,
        design=CONFIG.design,
        subject=CONFIG.subjects[subject] if subject else None,
    )


rule download_experiment:
    """Design of the experiment and table of the stimuli."""
    input:
        BUCKET_FOLDER,
    output:
        expdesign=f"{RESOURCES}/nsddata/experiments/nsd/nsd_expdesign.mat",
        stimuli=f"{RESOURCES}/nsddata/experiments/nsd/nsd_stim_info_merged.csv",
        ledger=f"{RESOURCES}/ledger/experiment.tsv",
    log:
        f"logs/{CONFIG.dataset}/download_experiment.log",
    retries: 0 if SERVED else 3
    resources:
        downloads=1,
    params:
        served=served("nsddata/experiments/"),
        endpoint=endpoint,
        root=RESOURCES,
        settings=fetch_settings(),
    shell:
        "{params.served} python -m boldvision fetch experiment --settings {params.settings:q}"
        " --root {params.root} --ledger {output.ledger} {params.endpoint} &> {log}"


rule download_subject:
    """Region of interest, brain mask, behaviour and the design of every run of a subject."""
    input:
        BUCKET_FOLDER,
    output:
        roi=f"{RESOURCES}/nsddata/ppdata/{{subject}}/func1pt8mm/roi/nsdgeneral.nii.gz",
        brainmask=f"{RESOURCES}/nsddata/ppdata/{{subject}}/func1pt8mm/brainmask.nii.gz",
        responses=f"{RESOURCES}/nsddata/ppdata/{{subject}}/behav/responses.tsv",
        designs=directory(
            f"{RESOURCES}/nsddata_timeseries/ppdata/{{subject}}/func1pt8mm/design"
        ),
        ledger=f"{RESOURCES}/ledger/{{subject}}/subject.tsv",
    log:
        f"logs/{CONFIG.dataset}/download_subject/{{subject}}.log",
    retries: 0 if SERVED else 3
    resources:
        downloads=1,
    params:
        served=lambda wildcards: served(
            f"nsddata/ppdata/{wildcards.subject}/",
            f"nsddata_timeseries/ppdata/{wildcards.subject}/func1pt8mm/design/",
        ),
        endpoint=endpoint,
        root=RESOURCES,
        settings=lambda wildcards: fetch_settings(wildcards.subject),
    shell:
        "{params.served} python -m boldvision fetch subject --subject {wildcards.subject}"
        " --settings {params.settings:q} --root {params.root} --ledger {output.ledger}"
        " {params.endpoint} &> {log}"


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
    retries: 0 if SERVED else 3
    resources:
        downloads=1,
    params:
        served=lambda wildcards: served(
            f"nsddata_timeseries/ppdata/{wildcards.subject}/func1pt8mm/timeseries/"
            f"timeseries_session{wildcards.session}"
        ),
        endpoint=endpoint,
        root=RESOURCES,
        session=lambda wildcards: int(wildcards.session),
        settings=lambda wildcards: fetch_settings(wildcards.subject),
    shell:
        "{params.served} python -m boldvision fetch session --subject {wildcards.subject}"
        " --session {params.session} --out {output.series} --settings {params.settings:q}"
        " --root {params.root} --ledger {output.ledger} {params.endpoint} &> {log}"


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
    retries: 0 if SERVED else 3
    resources:
        downloads=1,
    params:
        served=served("nsddata_stimuli/"),
        endpoint=endpoint,
        root=RESOURCES,
        settings=lambda wildcards: fetch_settings(wildcards.subject),
    shell:
        "{params.served} python -m boldvision fetch images --subject {wildcards.subject}"
        " --settings {params.settings:q} --root {params.root} --ledger {output.ledger}"
        " {params.endpoint} &> {log}"
