"""Folders of Hugging Face's `transformers`: models and tokenizers, written and read.

    huggingface.save(model, "plays-hf", tokenizer)
    model, tokenizer = huggingface.load("plays-hf")

GPT-2's form (learned positions, LayerNorm, GELU) is its GPT2LMHeadModel; the modern one (rotary positions, RMSNorm,
SwiGLU) is LlamaForCausalLM, and with query-key norm Qwen3ForCausalLM. A folder holds config.json, model.safetensors
and, with a tokenizer, tokenizer.json and tokenizer_config.json. Neither direction needs `transformers` or `tokenizers`,
and nothing in a folder is ever run.

To read in this order: `families` (the forms of models and their names), `folders` (where an export goes), `models`,
`tokenizer`.
"""

from __future__ import annotations

from pathlib import Path

from ..contracts import StrPath
from ..gpt import GPT
from .families import family_of
from .folders import TOKENIZER, TOKENIZER_CONFIG, check_export_folder, replacing
from .models import load_model, write_model
from .tokenizer import Tokenizer, check_tokenizer, end_id, load_tokenizer, save_tokenizer, write_tokenizer

__all__ = ["load", "load_model", "load_tokenizer", "save", "save_tokenizer"]


def save(model: GPT, folder: StrPath, tokenizer: Tokenizer | None = None) -> None:
    """Write `model`, and the tokenizer if one is given, into `folder`, from which `transformers` loads them.

    GPT-2's form with bias=False gets biases of zero, because GPT2LMHeadModel has no other; `load` drops them again.
    An earlier export in the folder is replaced, all of it or nothing; files of other programs never are.

    Raises `TypeError` for a model that is no `GPT`; `ValueError` for a form that no class of `transformers` has, for a
    tokenizer that does not fit, and for a folder with files that are no export or with a tokenizer when none is given;
    `OSError` if the files cannot be written, as on a full disk: then the folder is as it was.
    """
    if not isinstance(model, GPT):
        raise TypeError(f"save writes a GPT, got {type(model).__name__}: transformers has no class for it")
    config, family, folder = model.config, family_of(model.config), Path(folder)
    check_export_folder(folder)
    if tokenizer is not None:
        _check_fit(tokenizer, config.vocab_size)
    elif (folder / TOKENIZER).exists():
        raise ValueError(
            f"{folder} holds a tokenizer, which may not belong to this model; pass the model's tokenizer, or remove "
            f"{TOKENIZER} and {TOKENIZER_CONFIG}"
        )
    end = None if tokenizer is None else end_id(tokenizer)
    with replacing(folder) as new:
        if tokenizer is not None:
            write_tokenizer(tokenizer, new)
        write_model(model, family, new, end)


def load(folder: StrPath) -> tuple[GPT, Tokenizer | None]:
    """The model and the tokenizer in a folder; None for the tokenizer if there is no tokenizer.json.

    Raises what `load_model` and `load_tokenizer` raise, and `ValueError` if the two do not fit each other.
    """
    model = load_model(folder)
    if not (Path(folder) / TOKENIZER).exists():
        return model, None
    tokenizer = load_tokenizer(folder)
    _check_fit(tokenizer, model.config.vocab_size)
    return model, tokenizer


def _check_fit(tokenizer: Tokenizer, vocab_size: int) -> None:
    check_tokenizer(tokenizer)
    if tokenizer.vocab_size > vocab_size:
        raise ValueError(f"the tokenizer has {tokenizer.vocab_size} ids, but the model reads {vocab_size}")
