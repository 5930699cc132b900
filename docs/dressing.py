"""What the site adds to pages while Sphinx reads them: links to the glossary, texts for pictures, plain docstrings.

The files themselves stay as they are: a notebook that is downloaded from the site is the notebook of the repository.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

LECTURES = "lectures/"
# `- **term; other spelling**: meaning (lecture 3)`
ENTRY = re.compile(r"^- \*\*(?P<terms>[^*]+)\*\*: (?P<meaning>.+)$", re.MULTILINE)
LECTURE = re.compile(r"\blecture (\d)\b")
BOLD = re.compile(r"(?<![*\w])\*\*([^*\n`$\[\]]+)\*\*(?![*\w])")


def glossary_terms(text: str) -> dict[str, str]:
    """Every spelling of every term of glossary.md, in small letters, to the term's first spelling."""
    found = {}
    for entry in ENTRY.finditer(text):
        spellings = [spelling.strip() for spelling in entry["terms"].split(";")]
        found.update({spelling.lower(): spellings[0] for spelling in spellings})
    return found


def as_glossary(text: str, lectures: dict[str, str]) -> str:
    """The list of glossary.md as Sphinx's glossary, with links to the lectures."""

    def entry(match: re.Match[str]) -> str:
        terms = [term.strip() for term in match["terms"].split(";")]
        meaning = LECTURE.sub(lambda m: f"[lecture {m[1]}]({lectures[m[1]]})", match["meaning"])
        return "\n".join([*terms, f"  {meaning}", ""])

    begin = ENTRY.search(text)
    if begin is None:
        raise ValueError("glossary.md has no entry `- **term**: meaning`")
    listed = "\n".join(entry(match) for match in ENTRY.finditer(text))
    return f"{text[: begin.start()]}````{{glossary}}\n{listed}\n````\n"


def with_term_links(markdown: str, terms: dict[str, str], linked: set[str]) -> str:
    """Bold words that the glossary explains become links to it, each term once in a lecture."""

    def link(match: re.Match[str]) -> str:
        term = terms.get(match[1].lower().rstrip(".:"))
        if term is None or term in linked:
            return match[0]
        linked.add(term)
        return f"**{{term}}`{match[1]} <{term}>`**"

    # code, in blocks and in lines, stays as it is
    parts = re.split(r"(```.*?```|`[^`\n]+`)", markdown, flags=re.DOTALL)
    return "".join(part if part.startswith("`") else BOLD.sub(link, part) for part in parts)


def spoken(node: ast.expr) -> str:
    """A string in the source as text; what only the run knows stands as an ellipsis."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(spoken(value) if isinstance(value, ast.Constant) else "…" for value in node.values)
    return ""


def titles(source: str) -> list[str]:
    """The sentences that a cell writes into its figure: titles, with at least three words each."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    named, others = [], []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        texts = [spoken(argument) for argument in node.args]
        if name in ("set_title", "suptitle", "title"):
            named += texts[:1]
        named += [spoken(keyword.value) for keyword in node.keywords if keyword.arg == "title"]
        others += [text for text in texts if name not in ("print", "note")]
    candidates = [text for text in named if text] or [text for text in others if text[:1].isupper()]
    return [" ".join(text.split()) for text in candidates if len(text.split()) >= 3]


def labels(source: str) -> str:
    """What the axes of a cell's figure show."""
    found = {axis: re.findall(rf'{axis}label(?:=|\()"([^"{{}}]+)"', source) for axis in "xy"}
    parts = [f"{axis}: {found[axis][-1]}" for axis in "xy" if found[axis]]
    return f" ({'; '.join(parts)})" if parts else ""


def last_paragraph(markdown: str) -> str:
    """The last paragraph of a text, without markup: what is said just before the figure; "" if there is none."""
    paragraphs = [
        part for part in markdown.split("\n\n") if part.strip() and not part.startswith(("#", "|", "```"))
    ]
    plain = re.sub(r"[*`_$]|\[([^\]]*)\]\([^)]*\)|<!--.*?-->", r"\1", paragraphs[-1]) if paragraphs else ""
    return " ".join(plain.split())


def describe_figures(notebook: dict[str, Any]) -> None:
    """Give each picture a text for those who cannot see it: the figure's title and axes, and a short one's prose."""
    before = ""
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            before = last_paragraph(source) or before
            continue
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            text = "; ".join(titles(source))
            if len(text) < 40:
                text = f"{text}. {before}".lstrip(". ")
            cell.setdefault("metadata", {})["mystnb"] = {"image": {"alt": f"Figure: {text}{labels(source)}"}}


def read_source(app: Sphinx, page: str, source: list[str]) -> None:
    """Dress a page before it is parsed."""
    folder = Path(app.srcdir)
    if page == "glossary":
        source[0] = as_glossary(source[0], {p.name[1]: f"{LECTURES}{p.name}" for p in lectures(folder)})
    if page.startswith(LECTURES):
        notebook = json.loads(source[0])
        terms = glossary_terms((folder / "glossary.md").read_text(encoding="utf-8"))
        linked: set[str] = set()
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = with_term_links("".join(cell["source"]), terms, linked)
        describe_figures(notebook)
        source[0] = json.dumps(notebook)


def lectures(folder: Path) -> list[Path]:
    return sorted((folder / LECTURES).glob("[0-9][0-9]_*.ipynb"))


def as_restructured(paragraph: str) -> str:
    """One paragraph of a docstring: indented code stays as it is, and so does what would be taken for markup."""
    lines = paragraph.split("\n")
    if lines[0].startswith(">>>"):
        return paragraph
    if all(line.startswith("    ") for line in lines):
        return ".. code-block:: text\n\n" + paragraph
    parts = re.split(r"(`[^`]+`)", paragraph)
    for i, part in enumerate(parts):
        if part.startswith("`") and part.endswith("`") and len(part) > 1:
            # a backslash and a space keep the quotes apart from what touches them
            parts[i] = f"\\ ``{' '.join(part[1:-1].split())}``\\ "
        else:
            parts[i] = re.sub(r"([*|])|(?<=\w)(_)(?!\w)", r"\\\1\2", part)
    return "".join(parts)


def plain_docstring(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Our docstrings are plain text with `code`, lists, indented programs and examples for doctest."""
    paragraphs = "\n".join(lines).strip("\n").split("\n\n")
    lines[:] = [*"\n\n".join(map(as_restructured, paragraphs)).split("\n"), ""]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", read_source)
    app.connect("autodoc-process-docstring", plain_docstring)
    return {"parallel_read_safe": True}
