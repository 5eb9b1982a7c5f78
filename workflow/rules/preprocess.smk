rule select_voxels:
    """Voxels of nsdgeneral (label > 0), in C order."""
    input:
        roi=rules.download_subject.output.roi,
    output:
        f"{RESULTS}/voxels/{{subject}}.npz",
    log:
        f"logs/{CONFIG.dataset}/select_voxels/{{subject}}.log",
    conda:
        "../../envs/signal.yaml"
    params:
        settings=lambda wildcards: as_json(subject=CONFIG.subjects[wildcards.subject]),
        code=fingerprint(
            "boldvision.signal.voxels", "boldvision.datasets.nsd.roi", "boldvision.nifti"
        ),
    shell:
        "python -m boldvision voxels --roi {input.roi:q} --settings {params.settings:q}"
        " --out {output:q} &> {log:q}"


rule prepare_session:
    """Mask, remove drift and z-score every run of a session."""
    input:
        series=rules.download_session.output.series,
        voxels=rules.select_voxels.output,
    output:
        series=f"{RESULTS}/bold/{{preprocessing}}/{{subject}}/session{{session}}.npy",
        quality=f"{RESULTS}/bold/{{preprocessing}}/{{subject}}/session{{session}}.json",
    log:
        f"logs/{CONFIG.dataset}/prepare_session/{{preprocessing}}/{{subject}}/session{{session}}.log",
    benchmark:
        f"benchmarks/{CONFIG.dataset}/prepare_session/{{preprocessing}}/{{subject}}/session{{session}}.tsv"
    wildcard_constraints:
        preprocessing=JOBS.preprocessings_of("nsd_prep"),
    conda:
        "../../envs/signal.yaml"
    resources:
        mem_mb=1000,
    params:
        session=lambda wildcards: int(wildcards.session),
        settings=lambda wildcards: as_json(
            subject=CONFIG.subjects[wildcards.subject],
            preprocessing=CONFIG.preprocessing[wildcards.preprocessing],
        ),
        code=fingerprint(
            "boldvision.signal.prepare",
            "boldvision.signal.clean",
            "boldvision.signal.session",
            "boldvision.signal.volumes",
            "boldvision.nifti",
            "boldvision.datasets.nsd.runs",
        ),
    shell:
        "python -m boldvision prepare --timeseries {input.series:q} --voxels {input.voxels:q}"
        " --subject {wildcards.subject:q} --session {params.session:q}"
        " --settings {params.settings:q} --out {output.series:q} --quality {output.quality:q} &> {log:q}"
