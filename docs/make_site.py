"""`make site`: the lectures, the reference and these pages as a site in build/site, to be read offline.

The pages are laid out in build/site-source: the README as the front page, the notebooks as they are stored, one page
for each module of the package. Sphinx makes the site of them. A warning ends the command.
"""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS, SOURCE, SITE = ROOT / "docs", ROOT / "build" / "site-source", ROOT / "build" / "site"
MATHJAX = "sphinx-mathjax-offline/static/mathjax/tex-svg.js"
# the package from the ground up: what a part of the reference is called, and its modules
REFERENCE = {
    "The lectures' models": ["micrograd", "ngram", "mlp", "layers", "backprop", "wavenet", "gpt", "bpe"],
    "Training and looking": ["batches", "optim", "fit", "evaluation", "sampling", "monitor", "diagnosis"],
    "Data and files": ["data", "characters", "models", "files", "contracts", "terminal"],
    "The training command": ["train"],
    "Hugging Face": ["huggingface"],
    "For the notebooks": [
        "course.checks",
        "course.plots",
        "course.diagrams",
        "course.scoreboard",
        "course.progress",
    ],
}
TREE = """
```{{toctree}}
:hidden:
:caption: {caption}

{pages}
```
"""


def tree(caption: str, pages: list[str]) -> str:
    return TREE.format(caption=caption, pages="\n".join(pages))


def with_site_links(text: str) -> str:
    """Links of the repository's pages to what the site calls them."""
    text = text.replace("](notebooks/", "](lectures/").replace("](data/README.md)", "](data.md)")
    text = text.replace("](docs/", "](").replace("](../data/README.md)", "](data.md)")
    text = text.replace("](../notebooks/", "](lectures/").replace("](../README.md", "](index.md")
    return re.sub(r"\]\(\.\./data/(\w+\.(?:png|json))\)", r"](data/\1)", text)


def front_page(lectures: list[str]) -> str:
    """The README, with the tree of all pages."""
    readme = with_site_links((ROOT / "README.md").read_text(encoding="utf-8"))
    pages = ["scoreboard", "glossary", "symbols"]
    more = ["use", "setups", "checking", "data", "contribute", "changes", "reference/index"]
    return readme + tree("Lectures", lectures) + tree("At hand", pages) + tree("More", more)


def module_page(module: str) -> str:
    """A page on which Sphinx puts what a module offers."""
    offered = getattr(importlib.import_module(f"nnhelpers.{module}"), "__all__", None)
    members = ", ".join(offered) if offered else ""
    options = [f"   :members: {members}".rstrip(), "   :imported-members:" if offered else ""]
    body = "\n".join([f".. automodule:: nnhelpers.{module}", *filter(None, options)])
    return f"# nnhelpers.{module}\n\n```{{eval-rst}}\n{body}\n```\n"


def first_line(module: str) -> str:
    doc = importlib.import_module(f"nnhelpers.{module}").__doc__ or ""
    return doc.strip().splitlines()[0]


def lay_out_reference(folder: Path) -> None:
    """One page for each public module, and a page that lists them."""
    folder.mkdir()
    listed, names = ["# The package `nnhelpers`\n"], []
    for part, modules in REFERENCE.items():
        listed.append(f"\n## {part}\n")
        for module in modules:
            (folder / f"{module}.md").write_text(module_page(module), encoding="utf-8")
            listed.append(f"- [`nnhelpers.{module}`]({module}.md): {first_line(module)}")
            names.append(module)
    text = "\n".join(listed) + "\n" + tree("Modules", names)
    (folder / "index.md").write_text(text, encoding="utf-8")


def lay_out() -> None:
    """All pages in one folder, ready for Sphinx."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(
        DOCS, SOURCE, ignore=shutil.ignore_patterns("__pycache__", "make_site.py", "requirements.txt")
    )
    for page in SOURCE.glob("*.md"):
        page.write_text(with_site_links(page.read_text(encoding="utf-8")), encoding="utf-8")
    (SOURCE / "lectures").mkdir()
    for notebook in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        shutil.copy(notebook, SOURCE / "lectures")
    lectures = [f"lectures/{path.stem}" for path in sorted((SOURCE / "lectures").glob("*.ipynb"))]
    (SOURCE / "index.md").write_text(front_page(lectures), encoding="utf-8")
    shutil.copy(ROOT / "data" / "README.md", SOURCE / "data.md")
    (SOURCE / "data").mkdir()
    for file in [
        *(ROOT / "data").glob("*.png"),
        *(ROOT / "data" / name for name in ("scoreboard.json", "bench.json")),
    ]:
        shutil.copy(file, SOURCE / "data")
    shutil.copy(ROOT / "LICENSE", SOURCE / "LICENSE")
    shutil.copy(Path(sysconfig.get_path("purelib")) / MATHJAX, SOURCE / "_static")
    lay_out_reference(SOURCE / "reference")


def main() -> int:
    lay_out()
    shutil.rmtree(SITE, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going", "-j", "2"]
    done = subprocess.run(
        [*command, "-d", str(ROOT / "build" / "site-doctrees"), str(SOURCE), str(SITE)], cwd=ROOT
    )
    if done.returncode == 0:
        n_pages = sum(1 for _ in SITE.rglob("*.html"))
        size = sum(path.stat().st_size for path in SITE.rglob("*") if path.is_file())
        print(f"build/site: {n_pages} pages, {size / 1e6:.0f} MB; open build/site/index.html")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
