rule download_rawdata:
    """Raw BIDS data of a subject's core sessions; removed once fMRIPrep has run, unless they are kept."""
    input:
        BUCKET_FOLDER,
    output:
        dataset=RAW(PATHS.rawdata),
        ledger=f"{RESOURCES}/ledger/{{subject}}/rawdata.tsv",
    log:
        f"{PATHS.logs}/download_rawdata/{{subject}}.log",
    benchmark:
        f"{PATHS.benchmarks}/download_rawdata/{{subject}}.tsv"
    retries: RETRIES
    localrule: True
    conda:
        "../../envs/signal.yaml"
    resources:
        # 150 GB, streamed to disk; a retry goes on where the last one was.
        mem_mb=1000,
        runtime=1440,
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
        directory(PATHS.derivatives),
    log:
        f"{PATHS.logs}/run_fmriprep/{{preprocessing}}/{{subject}}.log",
    benchmark:
        f"{PATHS.benchmarks}/run_fmriprep/{{preprocessing}}/{{subject}}.tsv"
    wildcard_constraints:
        preprocessing=JOBS.preprocessings_of("fmriprep"),
    retries: 12  # days of work on clusters with limits: each try goes on with the last
    conda:
        "../../envs/signal.yaml"
    threads: lambda wildcards: JOBS.fmriprep(wildcards).job.threads
    resources:
        mem_mb=lambda wildcards: 1000 * JOBS.fmriprep(wildcards).job.mem_gb,
        runtime=1440,  # the most that many clusters allow; ten days in all: see retries
        # Not a parameter: another scratch disk is no reason to run fMRIPrep again.
        job=JOBS.fmriprep_job,
    params:
        participant=lambda wildcards: f"{CONFIG.subjects[wildcards.subject].number:02d}",
        settings=lambda wildcards: as_json(
            preprocessing=JOBS.fmriprep(wildcards).model_dump(
                include={"kind", "version", "space"}
            )
        ),
        # Not of the whole stage: how fMRIPrep is begun and ended is no reason for days of work.
        code=lambda wildcards: CODE.fingerprint("boldvision.signal.fmriprep_command"),
    shell:
        "python -m boldvision fmriprep --bids {input:q} --participant {params.participant:q}"
        " --task nsdcore --settings {params.settings:q} --job {resources.job:q} --threads {threads:q}"
        " --mem-mb {resources.mem_mb:q} --out {output:q} &> {log:q}"


rule prepare_fmriprep_session:
    """Project every run of a session to fsaverage5, remove drift and z-score."""
    input:
        JOBS.derivatives,
    output:
        series=PATHS.series,
        quality=PATHS.quality,
    log:
        f"{PATHS.logs}/prepare_fmriprep_session/{{preprocessing}}/{{subject}}/session{{session}}.log",
    benchmark:
        f"{PATHS.benchmarks}/prepare_fmriprep_session/{{preprocessing}}/{{subject}}/session{{session}}.tsv"
    wildcard_constraints:
        preprocessing=JOBS.preprocessings_of("fmriprep"),
    conda:
        "../../envs/signal.yaml"
    resources:
        # One volume in memory and the clean run, 188 x 20,484; 4 s a run.
        mem_mb=1000,
        runtime=30,
    params:
        session=lambda wildcards: int(wildcards.session),
        settings=lambda wildcards: as_json(
            subject=CONFIG.subjects[wildcards.subject],
            preprocessing=JOBS.fmriprep(wildcards),
        ),
        code=CODE.stage("prepare_fmriprep"),
    shell:
        "python -m boldvision prepare_fmriprep --derivatives {input:q}"
        " --session {params.session:q} --settings {params.settings:q}"
        " --out {output.series:q} --quality {output.quality:q} &> {log:q}"
