"""What the README and the pages behind it show of the results: tables, pictures, a sample."""

from __future__ import annotations

import base64
import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import nbformat
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont
from stored import NOTEBOOKS, ROOT, tags, text_of

from nnhelpers.course.scoreboard import Corpus, ScoreRow, load_scoreboard
from nnhelpers.files import read_json, write_bytes

DATA = ROOT / "data"
# which blocks stand on which page, between `<!-- name -->` and `<!-- end -->`
PAGES = {
    ROOT / "README.md": ["sample"],
    ROOT / "docs" / "scoreboard.md": [f"scoreboard {corpus}" for corpus in get_args(Corpus)],
    ROOT / "docs" / "checking.md": ["lectures", "bench"],
}


def scoreboard(rows: Sequence[ScoreRow]) -> str:
    """The rows as a Markdown table; a trained network's third decimal depends on the processor and is left out."""
    lines = [
        "| | lecture | model | nats/char | ± s.e. | bits/char | parameters | seconds | how |",
        "|---:|---:|---|---:|---:|---:|---:|---:|---|",
    ]
    for number, row in enumerate(rows, start=1):
        lines.append(
            f"| {number} | {row.lecture} | {row.model} | {row.nats:.2f} | {row.standard_error:.2f} | "
            f"{row.nats / math.log(2):.2f} | {row.n_parameters:,} | {row.seconds:.1f} | {row.method} |"
        )
    return "\n".join(lines)


def bench(content: dict) -> str:
    """The ratios of `make bench` as a Markdown table, and on what they were measured."""
    lines = ["| what | against | times as fast | least to largest | runs |", "|---|---|---:|---:|---:|"]
    for row in (row for rows in content["duels"].values() for row in rows):
        lines.append(
            f"| {row['what']} | {row['against']} | **{row['ratio']:.2g}** | "
            f"{row['least']:.2g} to {row['largest']:.2g} | {row['runs']} |"
        )
    where = ". ".join(dict.fromkeys(map(measured, (content["machines"][name] for name in content["duels"]))))
    return "\n".join([*lines, "", f"{where}. More in [data/bench.json](../data/bench.json)."])


def measured(machine: dict[str, Any]) -> str:
    """When and on what something was measured."""
    on = f"{machine['processor']}, one thread, Python {machine['python']}, torch {machine['torch']}"
    return f"{machine['date']}, {on}"


def lectures() -> str:
    """What stands in each notebook, counted, and how long nbval takes for it."""
    content = read_json(DATA / "bench.json")
    seconds = {row["notebook"]: row["seconds"] for row in content.get("nbval", [])}
    lines = [
        "| notebook | words | cells | figures | exercises | cells to copy | seconds |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        words = sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown")
        n_tagged = Counter(tag for cell in cells for tag in tags(cell))
        figures = sum("image/png" in o.get("data", {}) for cell in cells for o in cell.get("outputs", []))
        lines.append(
            f"| [{path.stem}](../notebooks/{path.name}) | {words:,} | {len(cells)} | {figures} | "
            f"{n_tagged['exercise']} | {n_tagged['copy']} | {seconds.get(path.stem, '')} |"
        )
    return "\n".join([*lines, "", f"{measured(content['machines']['nbval'])}."])


def sample() -> str:
    """The last text that the cell tagged `sample` wrote: the trained model's, as it is stored in a notebook."""
    (text,) = (
        text_of(cell)
        for path in NOTEBOOKS
        for cell in nbformat.read(path, as_version=4).cells
        if "sample" in tags(cell)
    )
    written = text.rpartition("---")[2].partition("\n")[2].strip()
    return "\n".join(f"    {line}".rstrip() for line in written.split("\n")[:-1])  # the last line was cut off


def block(name: str) -> str:
    """What stands between `<!-- name -->` and `<!-- end -->`."""
    makers = {"sample": sample, "lectures": lectures, "bench": lambda: bench(read_json(DATA / "bench.json"))}
    makers |= {f"scoreboard {corpus}": partial(corpus_table, corpus) for corpus in get_args(Corpus)}
    return makers[name]()


def corpus_table(corpus: Corpus) -> str:
    return scoreboard(load_scoreboard(corpus))


def with_blocks(page: str, names: Sequence[str]) -> str:
    """A page with its blocks made anew; a marker that is missing raises `ValueError`."""
    for name in names:
        pattern = rf"(?<=<!-- {re.escape(name)} -->\n).*?(?=<!-- end -->)"
        # a backslash in the block means itself
        content = block(name).replace("\\", r"\\") + "\n"
        page, n_found = re.subn(pattern, content, page, flags=re.S)
        if n_found != 1:
            raise ValueError(f"one block is needed between <!-- {name} --> and <!-- end -->, found {n_found}")
    return page


def stored_figures(tag: str) -> list[tuple[str, bytes]]:
    """The figures of the cells with a tag, in the order of the lectures, each with its lecture's name ("7 · GPT")."""
    found = []
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        name = cells[0].source.split("\n")[0].lstrip("# ").partition(":")[0]
        for cell in cells:
            if tag in tags(cell):
                images = [o["data"]["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
                found += [(name, base64.b64decode(image)) for image in images]
    return found


def montage(
    figures: Sequence[tuple[str, bytes]], columns: int = 2, size: tuple[int, int] = (820, 500)
) -> bytes:
    """Figures side by side on white, each as large as its place allows, below the name of its lecture."""
    rows = -(-len(figures) // columns)
    page = Image.new("RGB", (columns * size[0], rows * size[1]), "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.truetype(findfont("DejaVu Sans:bold"), 26)
    for i, (name, figure) in enumerate(figures):
        left, top = i % columns * size[0], i // columns * size[1]
        draw.text((left + 30, top + 24), name, fill="#0072b2", font=font)
        image = Image.open(io.BytesIO(figure)).convert("RGB")
        scale = min((size[0] - 60) / image.width, (size[1] - 90) / image.height)
        image = image.resize(
            (round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS
        )
        middle = top + 70 + (size[1] - 90) // 2
        page.paste(image, (left + (size[0] - image.width) // 2, middle - image.height // 2))
    buffer = io.BytesIO()
    page.quantize(256).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def pictures() -> dict[Path, bytes]:
    """The README's two pictures, made from figures that are stored in the notebooks."""
    ((_, scoreboard_figure),) = stored_figures("scoreboard-figure")
    return {DATA / "front.png": montage(stored_figures("front")), DATA / "scoreboard.png": scoreboard_figure}


def write() -> None:
    """Bring the pages and the README's pictures up to date."""
    for path, content in pictures().items():
        write_bytes(path, content)
    for path, names in PAGES.items():
        write_bytes(path, with_blocks(path.read_text(encoding="utf-8"), names).encode())


if __name__ == "__main__":
    write()
