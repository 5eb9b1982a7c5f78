rule download_rawdata:
    """Raw BIDS data of a subject's core sessions; removed once fMRIPrep has run."""
    input:
        BUCKET_FOLDER,
    output:
        dataset=temp(directory(f"{RESOURCES}/rawdata/{{subject}}")),
        ledger=f"{RESOURCES}/ledger/{{subject}}/rawdata.tsv",
    log:
        f"logs/{CONFIG.dataset}/download_rawdata/{{subject}}.log",
    retries: RETRIES
    conda:
        "../../envs/signal.yaml"
    resources:
        downloads=1,
        # Not a parameter: another copy of the bucket is no reason to fetch anew.
        source=JOBS.source,
    params:
        served=JOBS.served("nsddata_rawdata/"),
        endpoint=JOBS.endpoint,
        root=subpath(output.ledger, ancestor=3),
        settings=JOBS.fetch_settings,
    shell:
        "{params.served} python -m boldvision fetch rawdata --subject {wildcards.subject:q}"
        " --out {output.dataset:q} --settings {params.settings:q} --source {resources.source:q} --root {params.root:q}"
        " --ledger {output.ledger:q} {params.endpoint:q} &> {log:q}"


rule run_fmriprep:
    """Run fMRIPrep on all sessions of a subject, in a container: days, see docs/fmriprep.md."""
    input:
        rules.download_rawdata.output.dataset,
    output:
        directory(f"{RESULTS}/fmriprep/{{preprocessing}}/{{subject}}"),
    log:
        f"logs/{CONFIG.dataset}/run_fmriprep/{{preprocessing}}/{{subject}}.log",
    benchmark:
        f"benchmarks/{CONFIG.dataset}/run_fmriprep/{{preprocessing}}/{{subject}}.tsv"
    wildcard_constraints:
        preprocessing=JOBS.preprocessings_of("fmriprep"),
    retries: 12  # days of work on clusters with limits: each try goes on with the last
    conda:
        "../../envs/signal.yaml"
    threads: lambda wildcards: JOBS.fmriprep(wildcards).job.threads
    resources:
        mem_mb=lambda wildcards: 1000 * JOBS.fmriprep(wildcards).job.mem_gb,
        # Not a parameter: another scratch disk is no reason to run fMRIPrep again.
        job=JOBS.fmriprep_job,
    params:
        participant=lambda wildcards: f"{CONFIG.subjects[wildcards.subject].number:02d}",
        settings=lambda wildcards: as_json(
            preprocessing=JOBS.fmriprep(wildcards).model_dump(
                include={"kind", "version", "space"}
            )
        ),
    shell:
        "python -m boldvision fmriprep --bids {input:q} --participant {params.participant:q}"
        " --settings {params.settings:q} --job {resources.job:q} --threads {threads:q}"
        " --mem-mb {resources.mem_mb:q} --out {output:q} &> {log:q}"


rule prepare_fmriprep_session:
    """Project every run of a session to fsaverage5, remove drift and z-score."""
    input:
        JOBS.derivatives,
    output:
        series=f"{RESULTS}/bold/{{preprocessing}}/{{subject}}/session{{session}}.npy",
        quality=f"{RESULTS}/bold/{{preprocessing}}/{{subject}}/session{{session}}.json",
    log:
        f"logs/{CONFIG.dataset}/prepare_fmriprep_session/{{preprocessing}}/{{subject}}/session{{session}}.log",
    benchmark:
        f"benchmarks/{CONFIG.dataset}/prepare_fmriprep_session/{{preprocessing}}/{{subject}}/session{{session}}.tsv"
    wildcard_constraints:
        preprocessing=JOBS.preprocessings_of("fmriprep"),
    conda:
        "../../envs/signal.yaml"
    resources:
        mem_mb=1000,
    params:
        session=lambda wildcards: int(wildcards.session),
        settings=lambda wildcards: as_json(
            subject=CONFIG.subjects[wildcards.subject],
            preprocessing=JOBS.fmriprep(wildcards),
        ),
        code=fingerprint(
            "boldvision.signal.prepare_fmriprep",
            "boldvision.signal.session",
            "boldvision.signal.surface",
            "boldvision.signal.gifti",
            "boldvision.nifti",
            "boldvision.signal.clean",
        ),
    shell:
        "python -m boldvision prepare_fmriprep --derivatives {input:q}"
        " --session {params.session:q} --settings {params.settings:q}"
        " --out {output.series:q} --quality {output.quality:q} &> {log:q}"
