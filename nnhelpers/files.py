"""Files that are written whole or not at all, and read without running anything that stands in them."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .contracts import StrPath

if TYPE_CHECKING:
    from torch import Tensor


def check_destination(path: StrPath) -> None:
    """Raises `OSError` if no file can be written to `path`: called before long work, whose result would be lost.

    Its folder is missing or read-only, or what stands there is no file.
    """
    _check_place(Path(path))
    _check_writable(Path(path).parent)


def check_folder(folder: StrPath) -> None:
    """Raises `OSError` if no files can be written into `folder`, which need not exist yet: it and those above it."""
    folder = Path(folder)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise NotADirectoryError(f"{str(existing)!r} is a file; give the path of a folder")
    _check_writable(existing)


def _check_place(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {str(path.parent)!r} to write {path.name} into; make it first"
        )
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder; give the path of a file to write")
    if path.exists() and not path.is_file():
        raise OSError(
            f"{str(path)!r} is a device, not a file, which cannot be replaced; give the path of a file"
        )


def _check_writable(folder: Path) -> None:
    """A trial: the rights of a folder say little about a file system that is read-only, or about an administrator."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise type(error)(
            f"no file can be written into the folder {str(folder)!r} ({reason}); give another"
        ) from None


def _replace(path: StrPath, write: Callable[[str], None]) -> None:
    """Let `write` make a temporary file beside `path`, bring it to the disk, then put it in the place of `path`."""
    path = Path(path)
    _check_place(path)
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
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}

    def save(temporary: str) -> None:
        try:
            save_file(whole, temporary, dict(metadata) if metadata else None)
        except SafetensorError as error:  # a full disk, say
            raise OSError(f"{Path(path).name} could not be written: {error}") from None

    _replace(path, save)


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


def digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """The SHA-256 of tensors and a text beside them: what was written and what was read have the same one."""
    import torch

    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


@contextmanager
def in_use(path: StrPath) -> Iterator[None]:
    """Hold the lock file `path` inside the block; `ValueError` if another process holds it.

    The system drops the lock of a process that ends in any way, so a file that a killed one left behind is no lock.
    """
    path = Path(path)
    with open(path, "a+") as file:
        if not _locked(file.fileno()):
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise ValueError(
                f"{path.parent} is in use by {holder}; wait until it has ended, or take another folder"
            )
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked(descriptor: int) -> bool:
    """Whether this process could lock an open file, without waiting."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
