"""Prints launch badges for the README of a published copy: `python binder/badges.py https://github.com/OWNER/NAME`.

Where this project is published is not known to it, so those of its own README ask for the address.
"""

from __future__ import annotations

import sys
from urllib.parse import quote, urlsplit

NOTEBOOK = "notebooks/01-quickstart.ipynb"
"""What they open."""


def badges(address: str, branch: str) -> list[str]:
    """Return the badges for a repository, as Markdown. Colab takes only repositories of GitHub."""
    address = address.removesuffix("/").removesuffix(".git")
    parts = urlsplit(address)
    if parts.scheme != "https" or not parts.hostname or not parts.path.strip("/"):
        raise SystemExit(f"{address!r} is no address of a repository: give https://HOST/OWNER/NAME.")
    is_github = parts.hostname == "github.com"
    where = f"gh{parts.path}" if is_github else f"git/{quote(address, safe='')}"
    binder = f"https://mybinder.org/v2/{where}/{quote(branch, safe='')}?labpath={quote(NOTEBOOK, safe='')}"
    found = [f"[![Binder](https://mybinder.org/badge_logo.svg)]({binder})"]
    if is_github:
        colab = f"https://colab.research.google.com/github{parts.path}/blob/{branch}/{NOTEBOOK}"
        found.append(f"[![Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})")
    return found


if __name__ == "__main__":
    if len(sys.argv) not in {2, 3}:
        raise SystemExit("usage: python binder/badges.py ADDRESS [BRANCH]")
    print(*badges(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "main"), sep="\n")
