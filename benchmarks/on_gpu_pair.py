"""One of two processes that train on the same card, which NCCL refuses: over gloo.

    RANK=0 … python benchmarks/on_gpu_pair.py STAGE …

Its arguments are those of ``python -m boldvision``.
"""

from __future__ import annotations

import sys

import torch.distributed

from boldvision import cli

_init = torch.distributed.init_process_group


def _init_gloo(*arguments, **options) -> None:
    _init(*arguments, **options | {"backend": "gloo"})


if __name__ == "__main__":
    torch.distributed.init_process_group = _init_gloo
    sys.exit(cli.main(sys.argv[1:]))
