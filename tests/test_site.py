"""The glossary, the symbols and what the site adds to the pages; the site itself is looked at by `make browser`."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
from packaging.utils import canonicalize_name
from stored import NOTEBOOKS

import nnhelpers

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import dressing  # noqa: E402
import make_site  # noqa: E402

GLOSSARY = (DOCS / "glossary.md").read_text(encoding="utf-8")
ENTRIES = [(entry["terms"].split(";"), entry["meaning"]) for entry in dressing.ENTRY.finditer(GLOSSARY)]
PROSE = {
    int(path.stem[:2]): "\n".join(
        cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"
    )
    for path in NOTEBOOKS
}


# The glossary and the symbols


def test_every_line_of_the_glossary_is_an_entry_and_no_word_has_two():
    listed = [line for line in GLOSSARY.splitlines() if line.startswith("- ")]
    assert len(listed) == len(ENTRIES) > 150
    spellings = [spelling.strip().lower() for terms, _ in ENTRIES for spelling in terms]
    assert len(spellings) == len(set(spellings))


def test_the_entries_stand_in_alphabetical_order():
    names = [re.sub(r"[^a-z0-9 -]", "", terms[0].lower()) for terms, _ in ENTRIES]
    assert names == sorted(names)


@pytest.mark.parametrize(("terms", "meaning"), ENTRIES, ids=lambda value: str(value)[:30])
def test_an_entry_names_a_lecture_that_uses_the_word(terms, meaning):
    lectures = [int(number) for number in re.findall(r"\blecture (\d)", meaning)]
    assert lectures
    assert set(lectures) <= PROSE.keys()
    plain = re.sub(r"[*`$\\]", "", PROSE[lectures[-1]]).lower()
    stems = [re.sub(r"(s|ies|y|ing|ed)$", "", spelling.strip().lower()) for spelling in terms]
    assert any(" ".join(stem.split()) in " ".join(plain.split()) for stem in stems), terms
    assert len(meaning.split()) <= 60


def test_the_table_of_symbols_has_five_columns_and_names_lectures():
    rows = [
        line
        for line in (DOCS / "symbols.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    assert len(rows) > 100
    for row in rows:
        cells = re.split(r"(?<!\\)\|", row.strip("|"))
        assert len(cells) == 5, row
    for row in rows[2:]:
        assert re.search(r"[1-8]", re.split(r"(?<!\\)\|", row.strip("|"))[-1]), row


# What the site adds


def test_a_bold_word_is_linked_once_and_only_if_the_glossary_has_it():
    linked: set[str] = set()
    terms = dressing.glossary_terms(
        "- **loss; losses**: how wrong (lecture 1)\n- **gradient**: slopes (lecture 1)"
    )
    text = "The **loss** and the **Losses** and **nothing** of a `**gradient**`, a **gradient.**"
    assert dressing.with_term_links(text, terms, linked) == (
        "The **{term}`loss <loss>`** and the **Losses** and **nothing** of a `**gradient**`, "
        "a **{term}`gradient. <gradient>`**"
    )
    assert dressing.with_term_links("**loss**", terms, linked) == "**loss**"


def test_most_bold_words_of_the_glossary_are_found_in_their_lecture():
    terms = dressing.glossary_terms(GLOSSARY)
    linked: set[str] = set()
    for prose in PROSE.values():
        here: set[str] = set()
        dressing.with_term_links(prose, terms, here)
        linked |= here
    assert len(linked) > 0.8 * len(set(terms.values()))


def test_the_glossary_page_links_to_the_lectures():
    page = dressing.as_glossary(GLOSSARY, {path.name[1]: f"lectures/{path.name}" for path in NOTEBOOKS})
    assert page.count("(lectures/") == len(re.findall(r"\blecture \d\b", "".join(m for _, m in ENTRIES)))
    with pytest.raises(ValueError, match="no entry"):
        dressing.as_glossary("# Glossary\n", {})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_figure_has_a_text_for_those_who_cannot_see_it(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    dressing.describe_figures(notebook)
    n_figures = 0
    for cell in notebook["cells"]:
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            n_figures += 1
            text = cell["metadata"]["mystnb"]["image"]["alt"]
            assert len(re.findall(r"\w{2,}", text)) >= 5, f"{text!r}\n{''.join(cell['source'])}"
    assert n_figures


def test_titles_are_read_from_the_source_of_a_cell():
    source = "axes.set_title(f'Loss falls to {x:.2f} at last')\nprint('Not this text here')"
    assert dressing.titles(source) == ["Loss falls to … at last"]
    assert dressing.titles('draw(q, "Four paths lead from a to q")') == ["Four paths lead from a to q"]
    assert dressing.titles("not python (") == []


def test_a_docstring_keeps_its_stars_bars_and_code():
    assert dressing.as_restructured("of `a*b` and c*d, |e| and f_") == (
        r"of \ ``a*b``\  and c\*d, \|e\| and f\_"
    )
    assert dressing.as_restructured("    x = *y").startswith(".. code-block:: text\n\n    x = *y")
    assert dressing.as_restructured(">>> 2 * 3\n6") == ">>> 2 * 3\n6"


# What it is made of


def test_the_reference_has_a_page_for_every_public_module():
    listed = [module for modules in make_site.REFERENCE.values() for module in modules]
    assert len(listed) == len(set(listed))
    assert {module.split(".")[0] for module in listed} == set(nnhelpers.__all__)


def test_links_of_the_repository_become_those_of_the_site():
    text = "[a](notebooks/01_x.ipynb) [b](data/README.md) [c](docs/use.md) [d](../data/front.png) [e](../README.md)"
    assert make_site.with_site_links(text) == (
        "[a](lectures/01_x.ipynb) [b](data.md) [c](use.md) [d](data/front.png) [e](index.md)"
    )


def test_what_the_site_needs_is_pinned_and_nothing_twice():
    def pinned(path: Path) -> dict[str, str]:
        lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
        return dict(line.split("==") for line in lines)

    own, others = pinned(DOCS / "requirements.txt"), pinned(ROOT / "requirements.txt")
    assert not {canonicalize_name(name) for name in own} & {canonicalize_name(name) for name in others}
    extensions = next(
        ast.literal_eval(node.value)
        for node in ast.parse((DOCS / "conf.py").read_text()).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "extensions"
    )
    for extension in extensions:
        name = canonicalize_name(extension.split(".")[0])
        assert extension == "dressing" or name in {canonicalize_name(name) for name in own}
