"""The documentation site, by Sphinx: the repository's own Markdown, each page where it is. .ci/docs builds it.

Sources are the root's and not docs/ alone, so that links lead where they lead on the forge, and each is followed.
"""

import shutil
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]

project = "VirNucFlow"
version = release = (ROOT / "workflow" / "scripts" / "virnucflow" / "VERSION").read_text().strip()
extensions = ["myst_parser", "sphinx_copybutton"]
root_doc = "README"
include_patterns = ["*.md", "config/*.md", "containers/*.md", "docs/*.md", "resources/example/*.md"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a README may go from the title to a table

html_theme = "furo"
html_title = f"VirNucFlow {version}"
html_theme_options = {"sidebar_hide_name": False}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_show_copyright = False
html_permalinks_icon = "#"
copybutton_exclude = ".linenos, .gp"

# What the README's table of pages is on the forge. It is appended here, since a forge shows such a list as it stands.
CONTENTS = """
```{toctree}
:hidden:
:caption: Use it

docs/start
docs/tutorial
docs/results
docs/choosing_a_cut
docs/hpc
docs/migration
```

```{toctree}
:hidden:
:caption: Look things up

config/README
docs/settings
docs/formats
docs/troubleshooting
```

```{toctree}
:hidden:
:caption: Trust it

docs/models
docs/lite
docs/validation
docs/performance
docs/reliability
```

```{toctree}
:hidden:
:caption: Change it

docs/architecture
CONTRIBUTING
docs/training
containers/README
resources/example/README
CHANGELOG
```
"""


def add_contents(_app: Sphinx, page: str, source: list[str]) -> None:
    """Give the first page the list of all others."""
    if page == root_doc:
        source[0] += CONTENTS


def name_first_page(app: Sphinx, error: Exception | None) -> None:
    """Have the first page under the name that a server and a browser look for."""
    if error is None and app.builder.name == "html":
        shutil.copy(Path(app.outdir, f"{root_doc}.html"), Path(app.outdir, "index.html"))


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_contents)
    app.connect("build-finished", name_first_page)
