"""The documentation site: `sphinx-build -W .docs FOLDER` builds it, from the code and with no network."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from mlmgmt_nb import __version__

project = "mlmgmt-nb"
author = copyright = "the authors of mlmgmt-nb"  # noqa: A001 - Sphinx's word
release = version = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb", "hooks"]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = html_copy_source = False

smartquotes = False  # `--flag` stays what it is
suppress_warnings = ["config.cache"]
default_role = "py:obj"  # docstrings put names between single backticks: a link where it is one of ours, else code
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {  # imported for type hints only, where two classes have the name
    "Difference": "mlmgmt_nb.client.changes.difference.Difference"
}
napoleon_use_ivar = True
napoleon_custom_sections = [("Keys", "params_style")]

myst_heading_anchors = 4  # links to headings, checked as those to files are
nb_execution_mode = "off"  # the outputs that are committed are the ones that the tests compare
nb_render_error_lexer = "text"  # errors of ours are two lines, and no traceback
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # no script from elsewhere: panels leave pictures
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
