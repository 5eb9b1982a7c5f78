rule paper:
    """Every table and figure, for the subjects and shifts of scope `paper`."""
    input:
        PLAN.everything("paper"),
    localrule: True


# `snakemake figure_5`: one table or figure, in the configuration's own scope.
for item in PLAN.item_names:

    rule:
        name:
            item
        input:
            PLAN.item(item, CONFIG.scope),
        localrule: True


rule differences:
    """Paired differences between the rows of the tables, in the configuration's own scope."""
    input:
        PLAN.table("differences", CONFIG.scope),
    localrule: True


rule scorecard:
    """Ours and published side by side, in the configuration's own scope."""
    input:
        PLAN.scorecard(CONFIG.scope),
    localrule: True


rule import_official:
    """Models of the weights that authors published, for the configuration's own scope."""
    input:
        lambda wildcards: PLAN.official(CONFIG.scope),
    localrule: True


rule known_answer:
    """The check of the miniature's known answer; real data have none."""
    input:
        PLAN.known_answer(CONFIG.scope),
    localrule: True
