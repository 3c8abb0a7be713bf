"""Code in displays, with syntax highlighting for light and dark themes."""

from __future__ import annotations

__all__ = ["CODE_CSS", "highlighted"]

CODE_CSS = """\
.mlmgmt { --mlmgmt-comment: #57606a; --mlmgmt-string: #0b5b36; --mlmgmt-number: #0550ae; --mlmgmt-keyword: #a3145c; }
body[data-jp-theme-light="false"] .mlmgmt, body.vscode-dark .mlmgmt, html[theme="dark"] .mlmgmt {
  --mlmgmt-comment: #9da7b3; --mlmgmt-string: #8ddb8c; --mlmgmt-number: #79c0ff; --mlmgmt-keyword: #ff9bce;
}
.mlmgmt.mlmgmt pre.mlmgmt-code {
  margin: 4px 0 8px; padding: 6px 8px; overflow: auto; max-height: 28em; font: .92em/1.45 var(--mlmgmt-mono);
  color: var(--mlmgmt-text); background: var(--mlmgmt-hover); border: 1px solid var(--mlmgmt-line); border-radius: 3px;
  white-space: pre-wrap; word-break: normal; overflow-wrap: anywhere;
}
"""
"""Styles for code, and for the kinds of tokens that have a color."""
_TOKENS = {"comment": "c c1", "string": "s s1 s2 sb nt", "number": "m mi mf", "keyword": "k kc kn"}
CODE_CSS += "".join(
    f"{', '.join(f'.mlmgmt .mlmgmt-token-{token}' for token in tokens.split())} {{ color: var(--mlmgmt-{color}); }}\n"
    for color, tokens in _TOKENS.items()
)


def highlighted(code: str, language: str) -> str:
    """Return code as highlighted HTML for a `pre` element. Its text content is the code, unchanged.

    Args:
        code: the code.
        language: its language, as Pygments names it.
    """
    from pygments import highlight
    from pygments.formatters.html import HtmlFormatter
    from pygments.lexers import get_lexer_by_name

    lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    markup: str = highlight(code, lexer, HtmlFormatter(nowrap=True, classprefix="mlmgmt-token-"))
    return markup
