"""`python -m mlmgmt_nb.scoring.compat score.py`: run a script of 2017 to 2024 with the imports that it expects."""

from __future__ import annotations

import runpy
import sys

from mlmgmt_nb.scoring.compat import install


def main() -> None:
    """Run the script that the first argument names, with the arguments after it."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m mlmgmt_nb.scoring.compat SCRIPT [ARGUMENT ...]")
    del sys.argv[0]
    sys.path[0] = sys.argv[0].rpartition("/")[0]
    install()
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
