"""Texts are plain American English, as far as a machine can tell.

The first line of a docstring is held by ruff (D401); here are the texts that users read, and the pages.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlmgmt_nb import cli
from mlmgmt_nb.commands import COMMANDS
from mlmgmt_nb.commands.session import COMMON, WAITING

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mlmgmt_nb"
SITE = ROOT / ".docs"
PAGES = [
    ROOT / "README.md",
    *sorted(
        page
        for page in [*SITE.rglob("*.md"), *SITE.rglob("*.rst")]
        if not {"_build", "notebooks"} & {*page.relative_to(SITE).parts}
    ),
]

RULES = {
    '"is not a", not "is no"': r"\b(?:is|are|was|were) no (?!longer\b|more\b|less\b|later\b)\w",
    '"you", not "one"': r"\bone (?:can|may|must|has|does|is|wants|needs|types|sees)\b",
    '"no longer", not "not any more"': r"\bany more\b",
    "no personification": r"\b(?:wants|bears|knows of|tells of|speaks of)\b",
    "American spelling": r"\b(?:behaviour|colour|licen[c]e[sd]?|honour|favour|catalogue|centre|cancell?ing|"
    r"(?:initial|serial|organ|author|recogn|normal|minim|maxim|summar|optim)is(?:e|ed|es|ing|ation))\b",
    '"cannot be found", not "cannot be had"': r"\bbe had\b",
    "the field's terms": r"\b(?:is|are|was|were) gone\b|\bhas gone\b|\bat work on\b|\bout of use\b",
}
RULES_AT_THE_START = {
    "name the thing: no headless clause": r"(?i:what|whether|how many|where|which|when) ",
}


def faults(text: str, *, is_whole: bool = True) -> list[str]:
    """Return the rules that a text breaks. `is_whole`: it is a text by itself, whose first word counts."""
    plain = re.sub(r"`[^`]*`|\{[^{}]*\}", "X", text)
    found = [f"{rule}: {text}" for rule, pattern in RULES.items() if re.search(pattern, plain)]
    if is_whole and not text.rstrip().endswith("?"):
        found += [f"{rule}: {text}" for rule, pattern in RULES_AT_THE_START.items() if re.match(pattern, plain)]
    return found


def _text(node: ast.expr) -> str | None:
    """Return the text of a literal, with `{}` for what is filled in."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value) or "{}" for value in values)
        case ast.BinOp(left=left, right=right):
            return (_text(left) or "{}") + (_text(right) or "{}")
    return None


def _said_in_errors(tree: ast.AST) -> Iterator[str]:
    """Yield the texts of errors: arguments of what is raised, and `fix`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            calls = [node.exc]
        elif isinstance(node, ast.Call):
            calls = [ast.Call(node.func, [], [word for word in node.keywords if word.arg == "fix"])]
        else:
            continue
        for call in calls:
            for argument in [*call.args, *(word.value for word in call.keywords)]:
                text = _text(argument)
                if text and " " in text:
                    yield text


def test_errors() -> None:
    found = []
    for source in sorted(PACKAGE.rglob("*.py")):
        for text in _said_in_errors(ast.parse(source.read_text())):
            found += [f"{source.relative_to(ROOT)}: {fault}" for fault in faults(text)]
    assert not found, f"{len(found)}:\n" + "\n".join(found)


def test_help() -> None:
    texts = [flag.help for flag in (*COMMON, *WAITING)]
    for command in COMMANDS:
        texts += [command.help, *(flag.help for flag in command.flags)]
    for action in _own_actions():
        texts.append(action)
    found = [fault for text in texts for fault in faults(text)]
    assert not found, f"{len(found)}:\n" + "\n".join(found)


def _own_actions() -> Iterator[str]:
    parsers = [cli.service_parser()]
    for parser in parsers:
        for action in parser._actions:
            if action.help and action.help != "==SUPPRESS==":
                yield action.help
            for choice in getattr(action, "_choices_actions", ()):
                yield choice.help or ""
            if isinstance(action.choices, dict):
                parsers += action.choices.values()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    found = [fault for part in paragraphs for fault in faults(part, is_whole=_is_sentence(part))]
    assert not found, "\n".join(found)


def _is_sentence(paragraph: str) -> bool:
    """Return whether a paragraph of a page is prose: its first word counts, unless it asks something."""
    return paragraph.endswith((".", ":")) and "?" not in paragraph and not paragraph.startswith(("|", "#", "-", "*"))


def test_docstrings_and_comments() -> None:
    found = []
    for source in sorted(PACKAGE.rglob("*.py")):
        text = source.read_text()
        said = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, _DOCUMENTED)]
        said += re.findall(r"(?:^|\s)# (.*)", text)
        for part in said:
            found += [f"{source.relative_to(ROOT)}: {fault}" for fault in faults(part, is_whole=False)]
    assert not found, f"{len(found)}:\n" + "\n".join(found)


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def test_faults_are_found() -> None:
    assert faults("this is no signed token") == ['"is not a", not "is no": this is no signed token']
    assert faults("what one wants")[0].startswith('"you", not "one"')
    assert faults("How many to send") == ["name the thing: no headless clause: How many to send"]
    assert not faults("the token is no longer valid")
    assert not faults("`What` it is: {what}")
