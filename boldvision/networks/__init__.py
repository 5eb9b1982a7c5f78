"""Frozen networks that targets and teachers are made of: one folder per kind of network.

A network is a package ``boldvision.networks.<kind>`` with the modules

``settings``
    with a class ``Network``, a :class:`boldvision.networks.settings.BaseNetwork` with a field
    ``kind``.
``network``
    with ``load(settings)``: the network, frozen, in float32, from ``settings.folder``.
``keys``
    of a network that is published, with ``converted(files, out)``: writes to folder `out`, from the
    fetched files by name, what ``load`` reads.
``pretrain``
    of a network of which a small one ships, with ``pretrain(out, seed, scenes, steps,
    batch_size)``, all but `out` with defaults: trains it and writes it to folder `out`.
``blank``
    of such a network, with ``write(settings, out)``: likewise, with random weights; the stage
    `benchmark` asks for it where the network is not there.

and a file ``networks.yaml`` with named entries, `miniature` and `real`.
"""
