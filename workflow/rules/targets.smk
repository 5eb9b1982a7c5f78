rule paper:
    """Everything, for all subjects and shifts of the paper."""
    input:
        PLAN.everything("paper"),
    localrule: True


rule table_1:
    """Table 1, in the configuration's own scope."""
    input:
        PLAN.table("table_1", CONFIG.scope),
    localrule: True


rule table_6:
    """Table 6, in the configuration's own scope."""
    input:
        PLAN.table("table_6", CONFIG.scope),
    localrule: True


rule figure_4:
    """Figure 4, in the configuration's own scope."""
    input:
        PLAN.figure("figure_4", CONFIG.scope),
    localrule: True


rule figure_5:
    """Figure 5, in the configuration's own scope."""
    input:
        PLAN.figure("figure_5", CONFIG.scope),
    localrule: True


rule temporal_generalization:
    """The matrix of training and test windows, in the configuration's own scope."""
    input:
        PLAN.figure("temporal_generalization", CONFIG.scope),
    localrule: True


rule scorecard:
    """Ours and published side by side, in the configuration's own scope."""
    input:
        PLAN.scorecard(CONFIG.scope),
    localrule: True


rule known_answer:
    """The check of the miniature's known answer; real data have none."""
    input:
        PLAN.known_answer(CONFIG.scope),
    localrule: True
