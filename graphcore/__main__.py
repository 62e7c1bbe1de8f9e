"""`python -m graphcore`: the command line."""

import sys

from graphcore.cli import main

sys.exit(main())
