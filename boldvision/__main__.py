"""Entry point of ``python -m boldvision``."""

import sys

from boldvision.cli import main

sys.exit(main())
