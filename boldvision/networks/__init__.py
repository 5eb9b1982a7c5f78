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

and a file ``networks.yaml`` with named entries, `miniature` and `real`.
"""
