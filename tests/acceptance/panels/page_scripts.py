"""JavaScript that tests run in the page of JupyterLab."""

from __future__ import annotations

__all__ = [
    "CLOSE_ALL",
    "CUT_OFF",
    "HAS_HEIGHT",
    "HIDE_SIDEBARS",
    "OPEN",
    "OPEN_WITHOUT_KERNEL",
    "PROMPT",
    "READY",
    "SAVE_STATE",
    "VALUE_OF",
]

READY = """async path => {
    const lab = window.jupyterapp;
    if (!lab) return false;
    await lab.restored;
    const panel = lab.shell.currentWidget;
    if (panel?.context?.path !== path) return false;
    await panel.context.ready;
    await panel.sessionContext.ready;
    const kernel = panel.sessionContext.session?.kernel;
    if (!kernel) return false;
    await kernel.info;
    return kernel.status === 'idle';
}"""
"""Returns whether the notebook of a path is open, and its kernel idle."""
CUT_OFF = """number => {
    const cell = document.querySelectorAll('.jp-Notebook .jp-Cell')[number];
    const right = cell.getBoundingClientRect().right;
    const overflow = part => getComputedStyle(part).overflowX;
    const isCutOff = part => {
        if (!part.clientWidth || part.scrollWidth <= part.clientWidth + 1 || overflow(part) === 'visible')
            return part.getBoundingClientRect().right > right + 1;
        return ['auto', 'scroll'].includes(overflow(part)) || getComputedStyle(part).textOverflow !== 'ellipsis';
    };
    const hidden = '.mlmgmt-spoken, svg, details:not([open]) > :not(summary)';
    return [...cell.querySelectorAll('.jp-OutputArea *')]
        .filter(part => part.getClientRects().length && !part.closest(hidden) && isCutOff(part))
        .map(part => part.tagName + ': ' + part.textContent.trim().slice(0, 80));
}"""
"""Returns the parts of a cell that are not shown in their full width, but for texts that end in an ellipsis."""
HIDE_SIDEBARS = "() => { const { shell } = window.jupyterapp; shell.collapseLeft(); shell.collapseRight(); }"
"""Leaves the whole width to the notebook."""
OPEN = "window.jupyterapp.commands.execute('docmanager:open', {path, factory: 'Notebook'});"
"""Opens the notebook of `path`."""
CLOSE_ALL = "() => { for (const each of [...window.jupyterapp.shell.widgets('main')]) each.dispose() }"
"""Closes all notebooks."""
OPEN_WITHOUT_KERNEL = """async path => {
    const lab = window.jupyterapp;
    if (!lab) return false;
    await lab.restored;
    if (window.jupyterapp !== lab || !lab.commands.hasCommand('docmanager:open')) return false;
    const kernel = {shouldStart: false, autoStartDefault: false};
    const panel = await lab.commands.execute('docmanager:open', {path, factory: 'Notebook', kernel});
    await panel.context.ready;
    return true;
}"""
"""Opens the notebook of a path without a kernel; returns whether JupyterLab was ready for it."""
SAVE_STATE = "'@jupyter-widgets/jupyterlab-manager:saveWidgetState'"
"""The command of the menu entry "Save Widget State Automatically"."""
PROMPT = "number => window.jupyterapp.shell.currentWidget.content.widgets[number].prompt"
"""Returns the prompt of a cell: `*` while it runs."""
VALUE_OF = """async expression => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const wanted = {code: "", silent: true, user_expressions: {value: expression}};
  const reply = await kernel.requestExecute(wanted).done;
  return reply.content.user_expressions.value.data["text/plain"];
}"""
"""Returns the value of an expression. The future is done when the page has received all earlier messages, too."""
HAS_HEIGHT = """async selector => {
    const until = performance.now() + 5000;
    const height = part => document.querySelector(part)?.getBoundingClientRect().height;
    while (!height(selector) && performance.now() < until) await new Promise(done => setTimeout(done, 20));
    return height(selector) > 0;
}"""
"""Returns whether an element has a height, now or within 5 seconds."""
