from boldvision.downloads import downloads


rule downloads:
    """All that needs a network, for the items of the configuration's own scope; it stays until it is used."""
    input:
        rules.fetch_weights.output,
        # Raw data stay: what a target without outputs asks for is never removed.
        lambda wildcards: downloads(PLAN, CONFIG.scope),
    localrule: True
