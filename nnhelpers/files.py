"""Files that are written whole or not at all, and read without running anything that stands in them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .contracts import StrPath

if TYPE_CHECKING:
    from torch import Tensor


def _replace(path: StrPath, write: Callable[[str], None]) -> None:
    """Let `write` make a temporary file beside `path`, bring it to the disk, then put it in the place of `path`."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {str(path.parent)!r} to write {path.name} into; make it first"
        )
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_bytes(path: StrPath, content: bytes) -> None:
    """Replace the file in one step: whoever reads it sees the old content or the new one."""
    _replace(path, lambda temporary: _write(temporary, content))


def _write(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)


def write_json(path: StrPath, content: Any) -> None:
    """The same for JSON: UTF-8, indented, ending in a newline."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: StrPath) -> Any:
    """What stands in a JSON file; `ValueError` if it is none."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not UTF-8, or not JSON
        raise ValueError(f"{path.name} is not JSON, or is cut short: {error}") from None


def write_tensors(
    path: StrPath, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Replace the file in one step by `tensors`, in the safetensors format."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    _replace(path, lambda temporary: save_file(tensors, temporary, dict(metadata) if metadata else None))


def read_tensors(path: StrPath) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file. Nothing in it is ever run: a pickle is refused."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path.name} is not a safetensors file, or is cut short ({error}). Pickled checkpoints (.pt, .bin) are "
            "not read, because loading one can run any code"
        ) from None
