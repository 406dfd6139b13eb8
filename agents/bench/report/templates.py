"""The templates of the report's page: Jinja2 escapes whatever is put into them, so that no name is markup."""

import re
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

__all__ = ["TEMPLATES", "own_file"]


def own_file(name: str) -> Markup:
    """A file of the templates as it is, unescaped: the page's own script and style, never what a session brought."""
    return Markup(files(__package__).joinpath("templates", name).read_text(encoding="utf-8"))


def _breakable(name: str) -> Markup:
    """A name that may go on in a new line after an underscore, a slash or a dot."""
    return Markup(re.sub(r"([_/.])", r"\1<wbr>", str(escape(name))))


TEMPLATES = Environment(
    loader=PackageLoader(__package__),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters["breakable"] = _breakable
