rule download_betas_session:
    """Single-trial betas of one session; removed once they are prepared."""
    input:
        BUCKET_FOLDER,
    output:
        betas=temp(
            directory(
                f"{RESOURCES}/nsddata_betas/ppdata/{{subject}}/func1pt8mm/{{preprocessing}}/session{{session}}"
            )
        ),
        ledger=f"{RESOURCES}/ledger/{{subject}}/{{preprocessing}}/session{{session}}.tsv",
    log:
        f"logs/{CONFIG.dataset}/download_betas_session/{{preprocessing}}/{{subject}}/session{{session}}.log",
    wildcard_constraints:
        preprocessing=JOBS.preprocessings_of("betas"),
    retries: RETRIES
    conda:
        "../../envs/signal.yaml"
    resources:
        downloads=1,
        # Not a parameter: another copy of the bucket is no reason to fetch anew.
        source=JOBS.source,
    params:
        served=lambda wildcards: JOBS.served(
            f"nsddata_betas/ppdata/{wildcards.subject}/func1pt8mm/"
            f"{CONFIG.preprocessing[wildcards.preprocessing].betas}/"
            f"betas_session{wildcards.session}"
        ),
        endpoint=JOBS.endpoint,
        root=subpath(output.ledger, ancestor=4),
        session=lambda wildcards: int(wildcards.session),
        kind=lambda wildcards: CONFIG.preprocessing[wildcards.preprocessing].betas,
        file=lambda wildcards: CONFIG.preprocessing[wildcards.preprocessing].file,
        settings=JOBS.fetch_settings,
    shell:
        "{params.served} python -m boldvision fetch betas --subject {wildcards.subject}"
        " --session {params.session} --kind {params.kind:q} --file {params.file}"
        " --out {output.betas} --settings {params.settings:q} --source {resources.source:q} --root {params.root}"
        " --ledger {output.ledger} {params.endpoint} &> {log}"


rule prepare_betas_session:
    """Mask the betas of a session and z-score every voxel over its trials."""
    input:
        betas=rules.download_betas_session.output.betas,
        voxels=rules.select_voxels.output,
    output:
        series=f"{RESULTS}/bold/{{preprocessing}}/{{subject}}/session{{session}}.npy",
        quality=f"{RESULTS}/bold/{{preprocessing}}/{{subject}}/session{{session}}.json",
    log:
        f"logs/{CONFIG.dataset}/prepare_betas_session/{{preprocessing}}/{{subject}}/session{{session}}.log",
    benchmark:
        f"benchmarks/{CONFIG.dataset}/prepare_betas_session/{{preprocessing}}/{{subject}}/session{{session}}.tsv"
    wildcard_constraints:
        preprocessing=JOBS.preprocessings_of("betas"),
    conda:
        "../../envs/signal.yaml"
    resources:
        mem_mb=1000,
    params:
        session=lambda wildcards: int(wildcards.session),
        settings=lambda wildcards: as_json(
            preprocessing=CONFIG.preprocessing[wildcards.preprocessing]
        ),
        code=fingerprint("boldvision.signal.betas", "boldvision.signal.volumes"),
    shell:
        "python -m boldvision betas --betas {input.betas} --voxels {input.voxels}"
        " --subject {wildcards.subject} --session {params.session}"
        " --settings {params.settings:q} --out {output.series} --quality {output.quality} &> {log}"
