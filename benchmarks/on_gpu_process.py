"""A stage in a process of its own that multiplies float32 as `Study.train` does.

    python benchmarks/on_gpu_process.py STAGE …

Its arguments are those of ``python -m boldvision``. Several, with RANK and so on, may share a card,
which NCCL refuses: they speak over gloo.
"""

from __future__ import annotations

import sys

import torch.distributed

from boldvision import cli

_init = torch.distributed.init_process_group


def _init_gloo(*arguments, **options) -> None:
    _init(*arguments, **options | {"backend": "gloo"})


if __name__ == "__main__":
    torch.backends.cudnn.allow_tf32 = False
    torch.distributed.init_process_group = _init_gloo
    sys.exit(cli.main(sys.argv[1:]))
