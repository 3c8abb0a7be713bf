"""`python -m mlmgmt_nb.cli`."""

import sys

from mlmgmt_nb.cli import main

sys.exit(main())
