"""What a folder holds: the tokenizer and the model of a run, or what a new run can begin with (`init_from`).

The models that come with the package lie in such folders, in half precision (`load_trained`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import huggingface
from ..bpe import BPETokenizer
from ..characters import FORMAT as CHARACTERS
from ..characters import CharTokenizer
from ..contracts import StrPath, Tokenizer
from ..data import data_folder
from ..files import read_json, write_bytes
from ..gpt import GPT, GPTConfig
from ..huggingface.folders import CONFIG, TOKENIZER
from .checkpoint import read_checkpoint, restore, write_checkpoint
from .settings import Settings

# the models that come with the package: folders in data/models
TRAINED = ("plays-chars", "plays-tokens")


def load_tokenizer(path: StrPath) -> Tokenizer:
    """Read a file that a tokenizer's `save` wrote; `ValueError` if it is damaged or of another kind."""
    content = read_json(path)
    is_characters = isinstance(content, dict) and content.get("format") == CHARACTERS
    return CharTokenizer.load(path) if is_characters else BPETokenizer.load(path)


def load_run(folder: StrPath, which: str = "best") -> tuple[GPT, Tokenizer]:
    """The model of a run, in eval mode on the CPU, from its "best" or its "last" checkpoint; and the tokenizer.

    Raises `FileNotFoundError`, and `ValueError` for files that are damaged or do not belong together.
    """
    tensors, info = read_checkpoint(Path(folder) / f"{which}.safetensors", "model")
    try:
        model = GPT(GPTConfig(**info["model"]))
    except TypeError as error:
        raise ValueError(f"{which}.safetensors in {folder} does not describe a GPT: {error}") from None
    restore(model, tensors)
    tokenizer = load_tokenizer(Path(folder) / "tokenizer.json")
    # an imported model may have more ids than its tokenizer
    n_ids = info.get("n_ids", model.config.vocab_size)
    if tokenizer.vocab_size != n_ids:
        raise ValueError(
            f"tokenizer.json in {folder} has {tokenizer.vocab_size} ids, the model {n_ids}: they do not belong together"
        )
    return model.eval(), tokenizer


def load_trained(name: str) -> tuple[GPT, Tokenizer]:
    """A model that comes with the package, in eval mode on the CPU; and its tokenizer.

        model, tokenizer = load_trained("plays-chars")
        print(complete(model, tokenizer, "OTHELLO:", 200, temperature=0.8))

    "plays-chars" is a GPT on the characters of the bundled plays, "plays-tokens" one on 1,024 tokens that were learned
    from them. data/README.md says how they were trained. Their folders, `data.data_folder() / "models" / name`, are
    runs without what only `resume` needs: `sample`, `init_from` and `load_run` take them.

    Raises `ValueError` for another name, and what `load_run` raises.
    """
    if name not in TRAINED:
        raise ValueError(f"a trained model is one of {', '.join(TRAINED)}, got {name!r}")
    return load_run(data_folder() / "models" / name)


def save_half(run: StrPath, folder: StrPath) -> None:
    """Write the best model of a run in half precision, its tokenizer and its log into `folder`, made if it is missing.

    That is all that a model is passed on with: a tenth of the bytes of the run, or fewer. `load_run` reads the folder,
    and a new run can begin with it.

    Raises `ValueError` for a model that half precision cannot hold, and for the folder of the run itself.
    """
    run, folder = Path(run), Path(folder)
    if run.resolve() == folder.resolve():
        raise ValueError(f"{folder} holds the run itself, which would be lost: give another folder")
    tensors, info = read_checkpoint(run / "best.safetensors", "model")
    half = {name: tensor.half() for name, tensor in tensors.items()}
    if too_large := [name for name, tensor in half.items() if not bool(torch.isfinite(tensor).all())]:
        raise ValueError(f"half precision cannot hold {too_large[0]} of the model in {run}")
    folder.mkdir(parents=True, exist_ok=True)
    write_checkpoint(folder / "best.safetensors", half, info)
    for name in ("tokenizer.json", "log.jsonl"):
        write_bytes(folder / name, (run / name).read_bytes())


@dataclass(frozen=True)
class Start:
    """What a new run begins with: a model in float32, its tokenizer, and the folder that they come from."""

    model: GPT
    tokenizer: Tokenizer
    folder: Path


def load_start(folder: StrPath) -> Start:
    """The model and the tokenizer of a run of ours, or of a folder of `transformers`.

    Of a run the best checkpoint is taken, or the last one if it was stopped before its first evaluation. A folder that
    is neither, or that has no tokenizer, raises `ValueError`; damaged files raise what their readers raise.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r} to begin with")
    for which in ("best", "last"):
        if (folder / f"{which}.safetensors").is_file():
            return Start(*load_run(folder, which), folder)
    if not (folder / CONFIG).is_file():
        raise ValueError(
            f"{folder} holds neither a run (best.safetensors) nor a model of Hugging Face ({CONFIG}); give "
            "the folder of one of them"
        )
    model, tokenizer = huggingface.load(folder)
    if tokenizer is None:
        raise ValueError(
            f"{folder} holds no {TOKENIZER}, without which its model reads no text; put it there with "
            "save_pretrained of the model's tokenizer in transformers"
        )
    return Start(model.float(), tokenizer, folder)


def settled(settings: Settings) -> tuple[Settings, Start | None]:
    """The settings with those of the model filled in, and what a new run begins with (None: weights from the seed).

    Raises `ValueError` for settings that contradict the model, and for a run in the model's own folder.
    """
    if settings.resume:
        _, info = read_checkpoint(Path(settings.out) / "last.safetensors", "settings")
        return settings.filled(info["settings"]), None
    if not settings.init_from:
        return settings, None
    if Path(settings.out).resolve() == Path(settings.init_from).resolve():
        raise ValueError(
            f"the run would begin with the weights in {settings.init_from} and write into the same folder: give out "
            "another one"
        )
    start = load_start(settings.init_from)
    found = _settings_of(start)
    _check_fit(settings, found)
    settings = settings.filled(found)
    model = resized(start.model, settings.block_size, settings.dropout)
    return settings, replace(start, model=model)


def _settings_of(start: Start) -> dict[str, Any]:
    """The settings that a model and its tokenizer decide."""
    config = start.model.config
    return {
        "tokenizer": str(start.folder / "tokenizer.json"),
        "architecture": "gpt2" if config.position == "learned" else "modern",
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_embd": config.n_embd,
        "block_size": config.block_size,
        "qk_norm": config.qk_norm,
    }


def _check_fit(settings: Settings, found: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a setting that contradicts the model; a smaller block_size does not."""
    for name, value in found.items():
        given = getattr(settings, name)
        is_smaller = name == "block_size" and given is not None and given < value
        if given not in (None, value) and not is_smaller:
            limit = "at most " if name == "block_size" else ""
            raise ValueError(
                f"with the weights in {settings.init_from} {name} is {limit}{value!r}, not {given!r}: leave it out"
            )


def resized(model: GPT, block_size: int, dropout: float) -> GPT:
    """The same parameters in a model that sees `block_size` tokens, no more than before, and has this dropout."""
    other = GPT(replace(model.config, block_size=block_size, dropout=dropout))
    with torch.no_grad():
        for (name, p), old in zip(other.named_parameters(), model.parameters(), strict=True):
            p.copy_(_first_positions(name, old, block_size))
    return other


def _first_positions(name: str, parameter: Tensor, n_positions: int) -> Tensor:
    """The table of positions cut to the first; every other parameter as it is."""
    return parameter[:n_positions] if name == "position_embedding.weight" else parameter
