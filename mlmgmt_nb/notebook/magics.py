"""The magics. They are thin: `CommandExecutor` does the work, and is imported on first use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand

from mlmgmt_nb.notebook.display.formatters import register, unregister

if TYPE_CHECKING:
    from mlmgmt_nb.notebook.execution import CommandExecutor

__all__ = ["MlmgmtMagics"]

_CALL = re.compile(r"^\s*(?:[\w.,\s]+=\s*)?%{1,2}mlmgmt\s(?P<text>.*)$", re.DOTALL)
_HELP = re.compile(r"^(\s*%{1,2}mlmgmt\b[^?'\"]*?)\s*\?{1,2}\s*$")


@magics_class
class MlmgmtMagics(Magics):
    """`%mlmgmt` and `%%mlmgmt`."""

    @cached_property
    def executor(self) -> CommandExecutor:
        """Return the executor of the commands, created on first use."""
        from mlmgmt_nb.notebook.execution import CommandExecutor

        return CommandExecutor(self.shell)

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def mlmgmt(self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Manage machine-learning models and services: %mlmgmt COMMAND ...

        `%mlmgmt` lists the commands, and `%mlmgmt COMMAND -h` describes a command. `{expression}` and `$name` insert
        values of the notebook; `>> name` at the end assigns the result.

            %load_ext mlmgmt_nb
            %mlmgmt service create -n iris -m model.pkl -f score.py -r python
            answer = %mlmgmt service run -n iris -d {frame}
            models = %mlmgmt model list --tag prod

        In a cell, `%%mlmgmt service run` takes the data from the body, `%%mlmgmt driver score.py` writes the body to a
        driver file and checks it, and other commands take flags from a YAML body.
        """
        return self.executor.run(line, cell, local_ns or {})

    def attach(self) -> None:
        """Add completion, help with `?`, and rich display."""
        shell: Any = self.shell
        register(shell, _open_change)
        shell.input_transformers_cleanup.append(_help_lines)
        shell.Completer.custom_matchers.append(self.matcher)

    def detach(self) -> None:
        """Undo `attach`, and close the connections."""
        shell: Any = self.shell
        unregister(shell)
        if _help_lines in shell.input_transformers_cleanup:
            shell.input_transformers_cleanup.remove(_help_lines)
        if self.matcher in shell.Completer.custom_matchers:
            shell.Completer.custom_matchers.remove(self.matcher)
        if "executor" in self.__dict__:
            self.executor.close()

    @cached_property
    def matcher(self) -> Any:
        """Return the completer of the magic line."""
        try:
            from IPython.core.completer import SimpleCompletion, context_matcher
        except ImportError:  # before IPython 8.6, as in Colab
            return self._match_token

        @context_matcher(identifier="mlmgmt")  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
        def matcher(context: Any) -> dict[str, Any]:
            call = _CALL.match(context.text_until_cursor)
            if call is None:
                return {"completions": []}
            fragment, candidates = self.executor.complete(call["text"])
            return {
                "completions": [SimpleCompletion(text=candidate, type="mlmgmt") for candidate in candidates],
                "matched_fragment": fragment,
                "suppress": True,
                "ordered": True,
            }

        return matcher

    def _match_token(self, token: str) -> list[str]:
        """Complete the last token of the line, as IPython splits it, without the text before it."""
        shell: Any = self.shell
        call = _CALL.match(shell.Completer.text_until_cursor)
        if call is None:
            return []
        fragment, candidates = self.executor.complete(call["text"])
        start = len(fragment) - len(token)
        return [candidate[start:] for candidate in candidates] if start >= 0 else candidates


def _open_change(change: Any) -> None:
    from mlmgmt_nb.notebook.panels import ChangePanel

    ChangePanel(change).show()


def _help_lines(lines: list[str]) -> list[str]:
    """Turn `%mlmgmt service create?` into a call with `-h`; `%mlmgmt?` alone is left to IPython."""
    found = _HELP.match(lines[0]) if len(lines) == 1 else None
    if found is None or not found[1].strip().lstrip("%").removeprefix("mlmgmt").strip():
        return lines
    return [f"{found[1]} -h\n"]
