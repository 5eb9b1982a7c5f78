rule select_voxels:
    """Voxels of nsdgeneral (label > 0), in C order."""
    input:
        roi=rules.download_subject.output.roi,
    output:
        PATHS.voxels,
    log:
        f"{PATHS.logs}/select_voxels/{{subject}}.log",
    benchmark:
        f"{PATHS.benchmarks}/select_voxels/{{subject}}.tsv"
    conda:
        "../../envs/signal.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        settings=lambda wildcards: as_json(subject=CONFIG.subjects[wildcards.subject]),
        code=CODE.stage("voxels"),
    shell:
        "python -m boldvision voxels --roi {input.roi:q} --settings {params.settings:q}"
        " --out {output:q} &> {log:q}"


rule prepare_session:
    """Mask, remove drift and z-score every run of a session."""
    input:
        series=rules.download_session.output.series,
        voxels=rules.select_voxels.output,
    output:
        series=PATHS.series,
        quality=PATHS.quality,
    log:
        f"{PATHS.logs}/prepare_session/{{preprocessing}}/{{subject}}/session{{session}}.log",
    benchmark:
        f"{PATHS.benchmarks}/prepare_session/{{preprocessing}}/{{subject}}/session{{session}}.tsv"
    wildcard_constraints:
        preprocessing=JOBS.preprocessings_of("nsd_prep"),
    conda:
        "../../envs/signal.yaml"
    threads: 2
    resources:
        # A run per thread, by its voxels: 0.2 GB at subj01's true size, in all.
        mem_mb=1000,
        runtime=30,
    params:
        session=lambda wildcards: int(wildcards.session),
        settings=lambda wildcards: as_json(
            subject=CONFIG.subjects[wildcards.subject],
            preprocessing=CONFIG.preprocessing[wildcards.preprocessing],
        ),
        code=CODE.stage("prepare"),
    shell:
        "python -m boldvision prepare --timeseries {input.series:q} --voxels {input.voxels:q}"
        " --subject {wildcards.subject:q} --session {params.session:q}"
        " --settings {params.settings:q} --out {output.series:q} --quality {output.quality:q}"
        " --threads {threads:q} &> {log:q}"
