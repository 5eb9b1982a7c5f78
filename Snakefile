"""From the raw Natural Scenes Dataset to every table and figure: a table of contents."""

from boldvision.shipped import shipped
from snakemake.utils import min_version

min_version("9.4")


configfile: shipped("config/config.yaml")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/messages.smk"
include: "workflow/rules/targets.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/miniature.smk"
include: "workflow/rules/download.smk"
include: "workflow/rules/captions.smk"
include: "workflow/rules/preprocess.smk"
include: "workflow/rules/fmriprep.smk"
include: "workflow/rules/betas.smk"
include: "workflow/rules/trials.smk"
include: "workflow/rules/splits.smk"
include: "workflow/rules/decoder_targets.smk"
include: "workflow/rules/decoders.smk"
include: "workflow/rules/reconstruct.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/downloads.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/figures_over_time.smk"
include: "workflow/rules/gallery.smk"
include: "workflow/rules/summary.smk"


rule all:
    """Everything in the configuration's own scope."""
    default_target: True
    input:
        PLAN.everything(CONFIG.scope),
    localrule: True
