"""Links of the README, the notebooks and the documentation's pages lead somewhere; nothing is asked of a network.

What Sphinx makes of them it checks itself (`sphinx-build -W`). This is about the files as they are read on a forge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
SITE = ROOT / ".docs"
PAGES = sorted(page for page in SITE.rglob("*.md") if not {"_build", "notebooks"} & {*page.relative_to(SITE).parts})
FILES = [ROOT / "README.md", *sorted((ROOT / "notebooks").glob("*.ipynb")), *PAGES]
MARKDOWN = MarkdownIt("gfm-like", {"linkify": False})


class _Html(HTMLParser):
    """Links and pictures of HTML in Markdown."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in {"href", "src", "srcset"}]


def text_of(path: Path) -> str:
    """Return the Markdown of a file, which for a notebook is that of its cells."""
    if path.suffix != ".ipynb":
        return path.read_text()
    cells = json.loads(path.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def _tokens(text: str) -> Iterator[Token]:
    for token in MARKDOWN.parse(text):
        yield token
        yield from token.children or ()


def links_of(text: str) -> list[str]:
    """Where the links and pictures of Markdown lead."""
    found = []
    for token in _tokens(text):
        found += [str(token.attrs[name]) for name in ("href", "src") if name in token.attrs]
        if token.type in {"html_block", "html_inline"}:
            parser = _Html()
            parser.feed(token.content)
            found += parser.found
    return found


def anchors_of(text: str) -> set[str]:
    """Return the anchors that a forge gives the headings: in lower case, without punctuation, blanks as hyphens."""
    tokens = MARKDOWN.parse(text)
    headings = [following for token, following in pairwise(tokens) if token.type == "heading_open"]
    words = ["".join(part.content for part in heading.children or ()) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in words}


def broken(path: Path, text: str) -> list[str]:
    """Return the links of a file that lead nowhere."""
    return [link for link in links_of(text) if not _leads_somewhere(path, text, link)]


def _leads_somewhere(path: Path, text: str, link: str) -> bool:
    parts = urlsplit(link)
    if parts.scheme:
        is_whole = bool(re.fullmatch(r"[\w.-]+\.[a-z]+(:\d+)?", parts.netloc)) and " " not in link
        return parts.scheme in {"http", "https"} and is_whole
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.exists() or not target.is_relative_to(ROOT if path.is_relative_to(ROOT) else path.parent):
        return False
    its_text = text if target == path else text_of(target) if target.suffix in {".md", ".ipynb"} else ""
    return not parts.fragment or parts.fragment in anchors_of(its_text) | _generated_anchors(target)


def _generated_anchors(page: Path) -> set[str]:
    """Types have their headings only on the site, where Sphinx checks the links to them."""
    return {"errorresponse"} if page.name == "rest.md" else set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    assert not broken(path, text_of(path))


def test_there_are_links() -> None:
    readme = links_of(text_of(FILES[0]))
    assert any(link.startswith(".docs/") for link in readme)
    assert any(link.endswith(".png") for link in readme)
    assert any(link.endswith(".ipynb") for link in readme)


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# An `other` page, it is\n")
    path = tmp_path / "page.md"
    text = """# Here & there
[right](#here--there) [right](other.md#an-other-page-it-is) [right](https://example.org/a#b) ![right](other.md)
[a](#nowhere) [b](missing.md) [c](other.md#nowhere) ![d](missing.png) [e](ftp://example.org) [f](https:///x)
<a href="gone.md"><img src="gone.svg"></a> [g](../outside.md) `[code](missing.md)`
"""
    path.write_text(text)
    assert broken(path, text) == [
        *("#nowhere", "missing.md", "other.md#nowhere", "missing.png", "ftp://example.org", "https:///x"),
        *("gone.md", "gone.svg", "../outside.md"),
    ]
