"""The site's settings; ``make docs`` builds it, and a link that leads nowhere fails the build."""

import inspect
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, whatever is installed

import therapysim

project = "TherapySim"
author = "The TherapySim developers"
copyright = f"2026, {author}"
version = release = therapysim.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# Every Markdown file of the repository is a page, so that a link to a model card is read, and checked, as any other.
root_doc = "docs/index"
include_patterns = ["*.md", "**/*.md"]
exclude_patterns = [".*", "build", "dist", "docs/_build", "models", "runs", "therapysim", "wandb"]
suppress_warnings = ["toc.not_included"]  # cards and results are linked where they matter

html_theme = "furo"
html_title = f"TherapySim {version}"
html_copy_source = False

myst_heading_anchors = 3  # headings are link targets, as on a forge

default_role = "code"  # `x` in a docstring is code, as it is in Markdown
python_use_unqualified_type_names = True
add_module_names = False
autodoc_typehints_format = "short"
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
# The reference needs the words of a module and not what it runs on.
autodoc_mock_imports = ["accelerate", "aiohttp", "datasets", "peft", "torch", "transformers", "trl", "unsloth", "vllm"]


class DataSheet(SphinxDirective):
    """The docstring of a class, read as the Markdown that it is: ``{datasheet} package.Class``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module, name = self.arguments[0].rsplit(".", 1)
        found = getattr(import_module(module), name)
        self.env.note_dependency(inspect.getfile(found))
        return self.parse_text_to_nodes(inspect.getdoc(found) or "", allow_section_headings=True)


class Room(SphinxDirective):
    """Everything that a room exports by name, by autodoc: ``.. room:: package.room``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        room = import_module(self.arguments[0])
        asked = "\n".join(f".. {autodoc_directive(room, name)}\n" for name in getattr(room, "__all__", ()))
        return self.parse_text_to_nodes(f".. automodule:: {room.__name__}\n   :no-members:\n\n{asked}")


def autodoc_directive(room: ModuleType, name: str) -> str:
    """The directive of one name; a constant is looked for in its own module, where its ``#:`` comment stands."""
    found = getattr(room, name)
    if isinstance(found, type):
        return f"auto{'exception' if issubclass(found, BaseException) else 'class'}:: {room.__name__}.{name}"
    if inspect.isroutine(found):
        return f"autofunction:: {room.__name__}.{name}"
    homes = (
        m for m in sorted(sys.modules) if m.startswith(f"{room.__name__}.") and vars(sys.modules[m]).get(name) is found
    )
    home = next((m for m in homes if ("", name) in ModuleAnalyzer.for_module(m).find_attr_docs()), room.__name__)
    return f"autodata:: {home}.{name}\n   :no-value:"


def shorten_data_sheet(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Leaves a data sheet, which is Markdown, to its own page."""
    if "## Description" in lines:
        lines[lines.index("## Description") :] = ["The data sheet: :doc:`/docs/environment`.", ""]


def lead_to_the_first_page(app: Sphinx, exception: Exception | None) -> None:
    """The site's own address leads to ``docs/index.html``."""
    (app.outdir / "index.html").write_text('<meta http-equiv="refresh" content="0; url=docs/index.html">', "utf-8")


def setup(app: Sphinx) -> None:
    app.add_directive("datasheet", DataSheet)
    app.add_directive("room", Room)
    app.connect("build-finished", lead_to_the_first_page)
    app.connect("autodoc-process-docstring", shorten_data_sheet)
