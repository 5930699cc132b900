"""Where an export goes: its files, what must not be overwritten, and a folder that changes as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..files import check_folder, read_json
from .families import FAMILIES

WEIGHTS, CONFIG = "model.safetensors", "config.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
# all that an export writes, in the order in which the files take their places
FILES = (WEIGHTS, TOKENIZER, TOKENIZER_CONFIG, CONFIG)
# what else may belong to a model or a tokenizer, and would be mixed with an export in the same folder
OTHER_SUFFIXES = {".safetensors", ".bin", ".pt", ".pth"}
OTHER_FILES = {
    "added_tokens.json",
    "generation_config.json",
    "merges.txt",
    "model.safetensors.index.json",
    "special_tokens_map.json",
    "vocab.json",
}


def check_export_folder(folder: Path) -> None:
    """Raise `ValueError` if `folder` holds a model or a tokenizer that is not an earlier export.

    `OSError` if nothing can be written into it.
    """
    if folder.is_file():
        raise ValueError(f"{folder} is a file; give a folder")
    check_folder(folder)
    if not folder.exists():
        return
    advice = "take a new or an empty folder"
    for path in sorted(folder.iterdir()):
        is_other = path.suffix in OTHER_SUFFIXES or path.name in OTHER_FILES
        if is_other and path.name not in FILES:
            raise ValueError(f"{folder} holds {path.name}, which no export wrote; {advice}")
    if (folder / TOKENIZER).exists() and own_format(read_json(folder / TOKENIZER)):
        raise ValueError(f"{folder} holds a {TOKENIZER} that a tokenizer's own save wrote; {advice}")
    if (folder / CONFIG).exists():
        settings = read_json(folder / CONFIG)
        if not isinstance(settings, dict) or settings.get("model_type") not in list(FAMILIES):
            raise ValueError(f"{folder} holds a {CONFIG} that no export wrote; {advice}")
    elif (folder / WEIGHTS).exists():
        raise ValueError(f"{folder} holds a {WEIGHTS} without {CONFIG}; {advice}")


def own_format(content: Any) -> str | None:
    """What a file that `CharTokenizer.save` or `BPETokenizer.save` wrote says of itself; None for other files."""
    name = content.get("format") if isinstance(content, dict) else None
    return name if isinstance(name, str) and name.startswith("nnhelpers.") else None


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A temporary folder for new files; at the end they take the place of those in `folder`, all or none.

    A full disk, or whatever else keeps the files from being written, raises `OSError`.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=folder, prefix=".export.", suffix=".tmp", ignore_cleanup_errors=True
        ) as temporary:
            yield Path(temporary)
            _exchange(Path(temporary), folder)
        # what a killed export was writing
        for stale in folder.glob(".export.*.tmp"):
            shutil.rmtree(stale, ignore_errors=True)
    except OSError as error:
        raise OSError(f"the export to {folder} could not be written, and changed nothing: {error}") from error
    finally:
        if is_new:
            # only an empty folder can be removed: one in which nothing was written
            with suppress(OSError):
                folder.rmdir()


def _exchange(new: Path, folder: Path) -> None:
    """Move the files of `new` into `folder`; an error on the way brings the old ones back.

    config.json goes first and comes last: a folder that was left half-way has none, and `load` refuses it.
    """
    old = new / "old"
    old.mkdir()
    replaced = [name for name in FILES if (new / name).exists()]
    before = [name for name in replaced if (folder / name).exists()]
    try:
        for name in reversed(before):
            os.replace(folder / name, old / name)
        for name in replaced:
            os.replace(new / name, folder / name)
    except BaseException:
        for name in replaced:
            if (old / name).exists():
                os.replace(old / name, folder / name)
            elif name not in before:
                (folder / name).unlink(missing_ok=True)
        raise
