"""How Sphinx makes the site: `make site` lays the pages out in build/site-source first (docs/make_site.py)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import nnhelpers

project = "Neural Networks: Playground"
release = nnhelpers.__version__
author = "the authors of Neural Networks: Playground"
copyright = "the authors; MIT licence"
html_title = project

extensions = [
    "myst_nb",
    "sphinx_copybutton",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "dressing",
]
exclude_patterns: list[str] = []
nitpicky = False

# the outputs are those that are stored, and checked elsewhere
nb_execution_mode = "off"
nb_number_source_lines = False
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
myst_url_schemes = ("http", "https", "mailto")

html_theme = "sphinx_book_theme"
html_theme_options = {
    "show_toc_level": 1,
    "use_download_button": True,
    "use_fullscreen_button": False,
    "show_prev_next": True,
    "navigation_with_keys": False,
    "navbar_start": [],
    "navbar_center": [],
    "navbar_end": [],
    "navbar_persistent": [],
    "logo": {"text": "Neural Networks: Playground"},
}
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["playground.css"]
html_js_files = [("folder.js", {"priority": 900})]
html_show_sphinx = False
html_domain_indices = False
html_copy_source = True
html_sourcelink_suffix = ""
# one file that draws formulas, copied there from a package: no server is asked
mathjax_path = "tex-svg.js"

# cells are copied without what they print
copybutton_selector = "div.cell_input div.highlight pre, div.highlight-python pre, div.highlight-shell pre"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
default_role = "code"
