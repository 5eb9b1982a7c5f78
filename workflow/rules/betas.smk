rule download_betas_session:
    """Single-trial betas of one session; removed once they are prepared, unless they are kept."""
    input:
        BUCKET_FOLDER,
    output:
        betas=RAW(PATHS.betas),
        ledger=f"{RESOURCES}/ledger/{{subject}}/{{preprocessing}}/session{{session}}.tsv",
    log:
        f"{PATHS.logs}/download_betas_session/{{preprocessing}}/{{subject}}/session{{session}}.log",
    benchmark:
        f"{PATHS.benchmarks}/download_betas_session/{{preprocessing}}/{{subject}}/session{{session}}.tsv"
    wildcard_constraints:
        preprocessing=JOBS.preprocessings_of("betas"),
    retries: RETRIES
    localrule: True
    conda:
        "../../envs/signal.yaml"
    resources:
        # 0.5 GB, streamed to disk.
        mem_mb=1000,
        runtime=120,
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
        "{params.served} python -m boldvision fetch betas --subject {wildcards.subject:q}"
        " --session {params.session:q} --kind {params.kind:q} --file {params.file:q}"
        " --out {output.betas:q} --settings {params.settings:q} --source {resources.source:q} --root {params.root:q}"
        " --ledger {output.ledger:q} {params.endpoint:q} &> {log:q}"


rule prepare_betas_session:
    """Mask the betas of a session and z-score every voxel over its trials."""
    input:
        betas=rules.download_betas_session.output.betas,
        voxels=rules.select_voxels.output,
    output:
        series=PATHS.series,
        quality=PATHS.quality,
    log:
        f"{PATHS.logs}/prepare_betas_session/{{preprocessing}}/{{subject}}/session{{session}}.log",
    benchmark:
        f"{PATHS.benchmarks}/prepare_betas_session/{{preprocessing}}/{{subject}}/session{{session}}.tsv"
    wildcard_constraints:
        preprocessing=JOBS.preprocessings_of("betas"),
    conda:
        "../../envs/signal.yaml"
    resources:
        # [750 trials, 15,724 voxels] float32, twice for a moment: 0.3 GB; seconds to decompress.
        mem_mb=1000,
        runtime=30,
    params:
        session=lambda wildcards: int(wildcards.session),
        settings=lambda wildcards: as_json(
            preprocessing=CONFIG.preprocessing[wildcards.preprocessing]
        ),
        code=CODE.stage("betas"),
    shell:
        "python -m boldvision betas --betas {input.betas:q} --voxels {input.voxels:q}"
        " --subject {wildcards.subject:q} --session {params.session:q}"
        " --settings {params.settings:q} --out {output.series:q} --quality {output.quality:q} &> {log:q}"
