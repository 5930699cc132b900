"""Folders of Hugging Face's `transformers`: models and tokenizers, written and read.

    huggingface.save(model, "plays-hf", tokenizer)
    model, tokenizer = huggingface.load("plays-hf")

GPT-2's form (learned positions, LayerNorm, GELU) is its GPT2LMHeadModel; the modern one (rotary positions, RMSNorm,
SwiGLU) is LlamaForCausalLM, and with query-key norm Qwen3ForCausalLM. A folder holds config.json, model.safetensors
and, with a tokenizer, tokenizer.json and tokenizer_config.json. Neither direction needs `transformers` or `tokenizers`,
and nothing in a folder is ever run.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .bpe import GPT2_PATTERN, GPT4_PATTERN, BPETokenizer
from .bpe.formats import END, byte_letters, write_huggingface
from .characters import CharTokenizer
from .contracts import StrPath
from .files import check_folder, read_json, read_tensors, write_json, write_tensors
from .gpt import EPS, GPT, GPTConfig

Tokenizer = CharTokenizer | BPETokenizer
Choices = Mapping[str, Sequence[Any]]  # the name of a setting -> the values that it may have

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


# The forms of a GPT that transformers has a class for.


@dataclass(frozen=True)
class Family:
    """A form of GPT: what `transformers` calls it, and the names by which its files know our settings and parts."""

    model_type: str
    class_name: str
    # before the names of all tensors but the head's; some writers leave it out
    prefix: str
    # ours -> the name in config.json
    keys: Mapping[str, str]
    # ours -> the names in model.safetensors; several where one matrix of ours is several of theirs
    parts: Mapping[str, tuple[str, ...]]
    # whether the matrices in the blocks are stored as (in, out)
    is_transposed: bool


GPT2_KEYS = {
    "vocab_size": "vocab_size",
    "block_size": "n_positions",
    "n_embd": "n_embd",
    "n_layer": "n_layer",
    "n_head": "n_head",
    "dropout": "resid_pdrop",
}
LLAMA_KEYS = {
    "vocab_size": "vocab_size",
    "block_size": "max_position_embeddings",
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "dropout": "attention_dropout",
}
GPT2_PARTS = {
    "token_embedding": ("wte",),
    "position_embedding": ("wpe",),
    "blocks": ("h",),
    "norm_1": ("ln_1",),
    "attention.qkv": ("attn.c_attn",),
    "attention.proj": ("attn.c_proj",),
    "norm_2": ("ln_2",),
    "feed_forward.up": ("mlp.c_fc",),
    "feed_forward.down": ("mlp.c_proj",),
    "norm": ("ln_f",),
    "head": ("lm_head",),
}
LLAMA_PARTS = {
    "token_embedding": ("embed_tokens",),
    "blocks": ("layers",),
    "norm_1": ("input_layernorm",),
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.q_norm": ("self_attn.q_norm",),
    "attention.k_norm": ("self_attn.k_norm",),
    "attention.proj": ("self_attn.o_proj",),
    "norm_2": ("post_attention_layernorm",),
    "feed_forward.gate": ("mlp.gate_proj",),
    "feed_forward.up": ("mlp.up_proj",),
    "feed_forward.down": ("mlp.down_proj",),
    "norm": ("norm",),
    "head": ("lm_head",),
}
GPT2 = Family("gpt2", "GPT2LMHeadModel", "transformer.", GPT2_KEYS, GPT2_PARTS, is_transposed=True)
LLAMA = Family("llama", "LlamaForCausalLM", "model.", LLAMA_KEYS, LLAMA_PARTS, is_transposed=False)
QWEN3 = replace(LLAMA, model_type="qwen3", class_name="Qwen3ForCausalLM")
FAMILIES = {family.model_type: family for family in (GPT2, LLAMA, QWEN3)}

# the settings of `GPTConfig` that make a model one of a family
GPT2_FORM: dict[str, Any] = {"norm": "layer", "mlp": "gelu", "qk_norm": False, "bos_id": None}
LLAMA_FORM: dict[str, Any] = {"norm": "rms", "mlp": "swiglu", "bos_id": None}
QWEN3_FORM: dict[str, Any] = {"norm": "rms", "mlp": "swiglu", "qk_norm": True, "bias": False, "bos_id": None}

# buffers that older versions wrote: the causal mask, and the speeds of rotary positions
OLD_BUFFERS = re.compile(r"h\.\d+\.attn\.(masked_)?bias|(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")


def _family(config: GPTConfig) -> Family:
    """The family that has this form; `ValueError` with what differs if none has."""
    if config.position == "learned":
        family, form = GPT2, GPT2_FORM
    elif config.qk_norm:
        family, form = QWEN3, QWEN3_FORM
    else:
        family, form = LLAMA, LLAMA_FORM
    ours = {name: getattr(config, name) for name in form}
    if differs := [f"{name}={ours[name]!r}" for name in form if ours[name] != form[name]]:
        needed = ", ".join(f"{name}={value!r}" for name, value in form.items())
        but = f"position={config.position!r} with {' and '.join(differs)}"
        raise ValueError(f"transformers has no class for {but}; it needs {needed}")
    return family


# Both together.


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
    config, family, folder = model.config, _family(model.config), Path(folder)
    _check_folder(folder)
    if tokenizer is not None:
        _check_fit(tokenizer, config.vocab_size)
    elif (folder / TOKENIZER).exists():
        raise ValueError(
            f"{folder} holds a tokenizer, which may not belong to this model; pass the model's tokenizer, or remove "
            f"{TOKENIZER} and {TOKENIZER_CONFIG}"
        )
    end = None if tokenizer is None else _end_id(tokenizer)
    with _replacing(folder) as new:
        if tokenizer is not None:
            _write_tokenizer(tokenizer, new)
        write_tensors(new / WEIGHTS, _their_tensors(model, family), {"format": "pt"})
        write_json(new / CONFIG, _their_config(model, family) | {"bos_token_id": end, "eos_token_id": end})


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
    _check_tokenizer(tokenizer)
    if tokenizer.vocab_size > vocab_size:
        raise ValueError(f"the tokenizer has {tokenizer.vocab_size} ids, but the model reads {vocab_size}")


def _check_tokenizer(tokenizer: Tokenizer) -> None:
    if not isinstance(tokenizer, CharTokenizer | BPETokenizer):
        raise TypeError(f"a CharTokenizer or a BPETokenizer can be written, got {type(tokenizer).__name__}")


def _end_id(tokenizer: Tokenizer) -> int | None:
    """The id of the token that begins and ends a text, if there is one."""
    if isinstance(tokenizer, BPETokenizer):
        return tokenizer.special_tokens.get(END)
    return None if tokenizer.boundary is None else 0


# Where an export goes.


def _check_folder(folder: Path) -> None:
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
    if (folder / TOKENIZER).exists() and _own_format(read_json(folder / TOKENIZER)):
        raise ValueError(f"{folder} holds a {TOKENIZER} that a tokenizer's own save wrote; {advice}")
    if (folder / CONFIG).exists():
        settings = read_json(folder / CONFIG)
        if not isinstance(settings, dict) or settings.get("model_type") not in list(FAMILIES):
            raise ValueError(f"{folder} holds a {CONFIG} that no export wrote; {advice}")
    elif (folder / WEIGHTS).exists():
        raise ValueError(f"{folder} holds a {WEIGHTS} without {CONFIG}; {advice}")


def _own_format(content: Any) -> str | None:
    """What a file that `CharTokenizer.save` or `BPETokenizer.save` wrote says of itself; None for other files."""
    name = content.get("format") if isinstance(content, dict) else None
    return name if isinstance(name, str) and name.startswith("nnhelpers.") else None


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
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


# A model out.


def _their_config(model: GPT, family: Family) -> dict[str, Any]:
    """config.json, without the ids of special tokens."""
    config = model.config
    settings: dict[str, Any] = {
        "architectures": [family.class_name],
        "model_type": family.model_type,
        "tie_word_embeddings": config.tie_weights,
        "dtype": str(model.head.weight.dtype).removeprefix("torch."),
    }
    for ours, theirs in family.keys.items():
        settings[theirs] = getattr(config, ours)
    for name, (value, *_) in _fixed_settings(config, family).items():
        if value is not None:
            settings[name] = value
    if family is GPT2:
        # a note to `load`: GPT2LMHeadModel always has biases
        settings["bias"] = config.bias
    return settings


def _fixed_settings(config: GPTConfig, family: Family) -> Choices:
    """The settings of config.json that follow from the shape: the value that is written, then others that are read."""
    if family is GPT2:
        return _gpt2_settings(config)
    settings = _llama_settings(config)
    if family is QWEN3:
        return settings | {"attention_bias": [False], "use_sliding_window": [False]}
    return settings | {"attention_bias": [config.bias], "mlp_bias": [config.bias]}


def _gpt2_settings(config: GPTConfig) -> dict[str, list[Any]]:
    return {
        "activation_function": ["gelu_new", "gelu_pytorch_tanh"],
        "add_cross_attention": [False],
        "attn_pdrop": [config.dropout],
        "embd_pdrop": [config.dropout],
        "layer_norm_epsilon": [EPS],
        "n_inner": [None, 4 * config.n_embd],
        "scale_attn_by_inverse_layer_idx": [False],
        "scale_attn_weights": [True],
    }


def _llama_settings(config: GPTConfig) -> dict[str, list[Any]]:
    return {
        "head_dim": [config.head_size, None],
        "hidden_act": ["silu"],
        "intermediate_size": [config.n_hidden],
        "num_key_value_heads": [config.n_head, None],
        "rms_norm_eps": [EPS],
        "rope_parameters": [{"rope_type": "default", "rope_theta": 10_000.0}, None],
        "rope_scaling": [None],
        "rope_theta": [10_000.0],
    }


def _their_tensors(model: GPT, family: Family) -> dict[str, Tensor]:
    """The model's parameters by the names, and in the shapes, of `transformers`."""
    needs_biases = family is GPT2 and not model.config.bias
    tensors: dict[str, Tensor] = {}
    for name, p in model.named_parameters():
        names = _their_names(name, family)
        whole = p.detach().T if _is_transposed(name, p.ndim, family) else p.detach()
        for their, piece in zip(names, whole.chunk(len(names)), strict=True):
            tensors[their] = piece
            if needs_biases and name.startswith(("blocks.", "norm.")):
                tensors[their.removesuffix("weight") + "bias"] = piece.new_zeros(piece.shape[-1])
    return {_with_prefix(name, family): tensor for name, tensor in tensors.items()}


def _their_names(name: str, family: Family) -> list[str]:
    """Which tensors, named without the prefix, hold our parameter `name`."""
    part, suffix = name.rsplit(".", 1)
    layers = ""
    if match := re.fullmatch(r"blocks\.(\d+)\.(.+)", part):
        layers, part = f"{family.parts['blocks'][0]}.{match[1]}.", match[2]
    return [f"{layers}{their}.{suffix}" for their in family.parts[part]]


def _is_transposed(name: str, n_dims: int, family: Family) -> bool:
    return family.is_transposed and n_dims == 2 and name.startswith("blocks.")


def _with_prefix(name: str, family: Family) -> str:
    return name if name.startswith("lm_head.") else family.prefix + name


# A model in.


def load_model(folder: StrPath) -> GPT:
    """The `GPT` in a folder of `transformers` (GPT-2, Llama, Qwen 3) whose settings are among ours; in eval mode.

    Reads model.safetensors, or the files that model.safetensors.index.json lists. Settings that a `GPT` does not have,
    tensors that are missing, unexpected or of a wrong shape, and damaged or pickled files raise `ValueError`.
    """
    folder = Path(folder)
    config, family = _read_config(folder)
    tensors = _without_prefix(_read_weights(folder), family.prefix)
    if config.n_layer > len(tensors):
        raise ValueError(f"{CONFIG} asks for {config.n_layer} layers, more than there are tensors")
    ours = _our_tensors(config, family, tensors)
    model = GPT(config).to(_common_dtype(ours)).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(ours[name])
    return model


def _read_config(folder: Path) -> tuple[GPTConfig, Family]:
    """The shape that config.json gives; `ValueError` for a setting that a `GPT` does not have."""
    settings = read_json(folder / CONFIG)
    model_type = settings.get("model_type") if isinstance(settings, dict) else None
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise ValueError(f"{CONFIG}: a model_type of {', '.join(FAMILIES)} can be read, got {model_type!r}")
    family = FAMILIES[model_type]
    settings = {family.keys["dropout"]: 0.0} | settings
    for name in family.keys.values():
        if name not in settings:
            raise ValueError(f"{CONFIG} has no {name!r}")
    config = _gpt2_config(settings) if family is GPT2 else _llama_config(settings, family)
    _check_settings(settings, dict(_fixed_settings(config, family)) | {"quantization_config": [None]})
    return config, family


def _gpt2_config(settings: Mapping[str, Any]) -> GPTConfig:
    return GPTConfig(
        **_read_sizes(settings, GPT2_KEYS),
        bias=_read_flag(settings, "bias", default=True),
        tie_weights=_read_flag(settings, "tie_word_embeddings", default=True),
    )


def _llama_config(settings: Mapping[str, Any], family: Family) -> GPTConfig:
    return GPTConfig(
        **_read_sizes(settings, LLAMA_KEYS),
        bias=_read_flag(settings, "attention_bias", default=False),
        position="rotary",
        norm="rms",
        mlp="swiglu",
        qk_norm=family is QWEN3,
        tie_weights=_read_flag(settings, "tie_word_embeddings", default=False),
    )


def _read_sizes(settings: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    sizes = {ours: settings[theirs] for ours, theirs in keys.items()}
    if type(sizes["dropout"]) not in (int, float):
        raise ValueError(f"{CONFIG}: {keys['dropout']} is {sizes['dropout']!r}, but should be a number")
    return sizes


def _read_flag(settings: Mapping[str, Any], name: str, default: bool) -> bool:
    value = settings.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f"{CONFIG}: {name} is {value!r}, but should be true or false")
    return value


def _check_settings(settings: Mapping[str, Any], fixed: Choices) -> None:
    """A setting that is left out has the value that `transformers` takes for it."""
    for name, allowed in fixed.items():
        usual = 1e-6 if name == "rms_norm_eps" else allowed[0]
        value = settings.get(name, usual)
        if value not in allowed:
            wanted = " or ".join(repr(each) for each in allowed)
            raise ValueError(f"{CONFIG}: {name} is {value!r}, but a GPT has {wanted} here")


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors, from one file or from several."""
    path, index = folder / WEIGHTS, folder / "model.safetensors.index.json"
    if path.is_file():
        return read_tensors(path)[0]
    if not index.is_file():
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth"))
        hint = f"; {pickles[0]} is a pickle, and loading one can run any code" if pickles else ""
        raise ValueError(f"{folder.name} holds no {WEIGHTS}{hint}; save it again as safetensors")
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
        raise ValueError(f"{index.name} holds no weight_map from the names of tensors to those of files")
    tensors: dict[str, Tensor] = {}
    for file in sorted(set(places.values())):
        if Path(file).name != file or not (folder / file).is_file():
            raise ValueError(f"{index.name} names {file!r}, which is no file in its folder")
        tensors |= read_tensors(folder / file)[0]
    return tensors


def _without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    short = {name: name.removeprefix(prefix) for name in tensors}
    if len(set(short.values())) < len(short):
        raise ValueError(f"some tensors are there twice, with and without {prefix!r} before their names")
    return {short[name]: tensors[name] for name in tensors if not OLD_BUFFERS.fullmatch(short[name])}


def _our_tensors(config: GPTConfig, family: Family, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Theirs under our names; all that the model needs have to be there, in their shapes, and none but those."""
    if config.tie_weights:
        _drop_tied_head(tensors, family)
    if family is GPT2 and not config.bias:
        _drop_zero_biases(tensors)
    # shapes alone, so that a damaged config.json does not fill the memory
    with torch.device("meta"):
        parameters = GPT(config).named_parameters()
    ours = {name: _take(name, tuple(p.shape), tensors, family) for name, p in parameters}
    if tensors:
        raise ValueError(f"this model has no place for the tensors {', '.join(sorted(tensors)[:5])}")
    return ours


def _drop_tied_head(tensors: dict[str, Tensor], family: Family) -> None:
    head = tensors.pop("lm_head.weight", None)
    table = tensors.get(f"{family.parts['token_embedding'][0]}.weight")
    if head is not None and (table is None or not torch.equal(head, table)):
        raise ValueError("tie_word_embeddings is set, but lm_head.weight is not the token embedding")


def _drop_zero_biases(tensors: dict[str, Tensor]) -> None:
    for name in [name for name in tensors if name.endswith(".bias")]:
        if tensors.pop(name).any():
            raise ValueError(f'{CONFIG} says "bias": false, but some of the biases are not zero')


def _take(name: str, shape: tuple[int, ...], tensors: dict[str, Tensor], family: Family) -> Tensor:
    """Our parameter `name` of this shape, out of `tensors`, from which its pieces are removed."""
    names, is_transposed = _their_names(name, family), _is_transposed(name, len(shape), family)
    expected = (shape[0] // len(names), *shape[1:])
    if is_transposed:
        expected = expected[::-1]
    for their in names:
        if their not in tensors:
            raise ValueError(f"the weights hold no tensor {their}; are the files complete?")
        given = tuple(tensors[their].shape)
        if given != expected:
            raise ValueError(f"{their} has shape {given}, but {CONFIG} asks for {expected}")
    whole = torch.cat([tensors.pop(their) for their in names])
    return whole.T if is_transposed else whole


def _common_dtype(tensors: Mapping[str, Tensor]) -> torch.dtype:
    dtypes = {tensor.dtype for tensor in tensors.values()}
    if len(dtypes) > 1 or not all(dtype.is_floating_point for dtype in dtypes):
        raise ValueError(f"weights have one floating-point type, got {', '.join(sorted(map(str, dtypes)))}")
    return dtypes.pop()


# A tokenizer out.

# every character on its own
CHARACTER_SPLIT = {
    "type": "Split",
    "pattern": {"Regex": r"[\s\S]"},
    "behavior": "Isolated",
    "invert": False,
}


def save_tokenizer(tokenizer: Tokenizer, folder: StrPath) -> None:
    """Write the tokenizer alone into `folder`, from which `transformers` and `tokenizers` load it.

    An earlier tokenizer of `save_tokenizer` is replaced. A folder with a model raises `ValueError`, because its
    config.json holds ids of the model's tokenizer: `save` writes both together. `OSError` as in `save`.
    """
    folder = Path(folder)
    _check_tokenizer(tokenizer)
    _check_folder(folder)
    if (folder / CONFIG).exists():
        raise ValueError(
            f"{folder} holds a model; write both with save(model, folder, tokenizer), or take another folder"
        )
    with _replacing(folder) as new:
        _write_tokenizer(tokenizer, new)


def _write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    if isinstance(tokenizer, BPETokenizer):
        write_huggingface(tokenizer, folder)
    else:
        _write_characters(tokenizer, folder)


def _write_characters(tokenizer: CharTokenizer, folder: Path) -> None:
    """tokenizer.json of one token a character. A character outside the vocabulary raises there as it does here."""
    vocab = {character: i for i, character in enumerate(tokenizer.characters)}
    content = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": CHARACTER_SPLIT,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unknown>"},
        "decoder": {"type": "Fuse"},
    }
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    if tokenizer.boundary is not None:
        config |= {"bos_token": tokenizer.boundary, "eos_token": tokenizer.boundary}
    write_json(folder / TOKENIZER, content)
    write_json(folder / TOKENIZER_CONFIG, config)


# A tokenizer in: the settings of its parts, each with the values that give the ids that ours gives (None: all do).

ANY = None
Settings = Mapping[str, Sequence[Any] | None]

WHOLE: Settings = {
    "version": ["1.0"],
    "truncation": [None],
    "padding": [None],
    "added_tokens": ANY,
    "normalizer": [None],
    "pre_tokenizer": ANY,
    "post_processor": ANY,
    "decoder": ANY,
    "model": ANY,
}
BPE: Settings = {
    # old files leave the type out
    "type": ["BPE", None],
    "vocab": ANY,
    "merges": ANY,
    "dropout": [None, 0.0],
    "continuing_subword_prefix": [None, ""],
    "end_of_word_suffix": [None, ""],
    "ignore_merges": [None, False],
    # what happens to unknown letters: there are none, because every byte is a token
    "unk_token": ANY,
    "fuse_unk": ANY,
    "byte_fallback": ANY,
}
WORD_LEVEL: Settings = {"type": ["WordLevel"], "vocab": ANY, "unk_token": ANY}
BYTE_LEVEL: Settings = {
    "type": ["ByteLevel"],
    "add_prefix_space": ANY,
    "trim_offsets": ANY,
    "use_regex": ANY,
}
SPLIT: Settings = {"type": ["Split"], "pattern": ANY, "behavior": ["Isolated"], "invert": [False]}
ADDED_TOKEN: Settings = {
    "id": ANY,
    "content": ANY,
    "single_word": [False],
    "lstrip": [False],
    "rstrip": [False],
    "normalized": [False, True],
    "special": ANY,
}
# the template that transformers writes for a tokenizer that adds nothing
TEXT_ALONE = [{"Sequence": {"id": "A", "type_id": 0}}]


def load_tokenizer(folder: StrPath) -> Tokenizer:
    """The tokenizer in a folder: a `CharTokenizer` or, in the byte-level form of GPT-2, a `BPETokenizer`.

    `encode(text, "all")` gives the ids that the library `tokenizers` gives: it knows every added token wherever it
    stands. What ours do not have (normalizers, other pre-tokenizers and models, added tokens that take in spaces,
    other orders of ids) raises `ValueError`. A pattern that is neither GPT-2's nor GPT-4's warns: `tokenizers` reads
    it by another engine, Oniguruma. So do letters that are younger than the Unicode version of one of the two engines.
    """
    content = read_json(Path(folder) / TOKENIZER)
    if own := _own_format(content):
        raise ValueError(f"{TOKENIZER} says {own!r}: read it with the load method of the tokenizer's class")
    _check_part(content, "the tokenizer", WHOLE)
    _check_post_processor(content.get("post_processor"))
    model = content.get("model")
    kind = _type_of(model)
    if kind == "BPE" or (kind == "no type" and isinstance(model, dict) and "merges" in model):
        return _read_bpe(content)
    if kind == "WordLevel":
        return _read_characters(content, Path(folder))
    raise _refused(f"the model is {kind}, but ours are BPE and, for characters, WordLevel")


def _read_bpe(content: Mapping[str, Any]) -> BPETokenizer:
    model = content["model"]
    _check_part(model, "the model", BPE)
    _check_part(content.get("decoder"), "the decoder", BYTE_LEVEL)
    vocab = _read_vocab(model)
    special_tokens = _read_added_tokens(content.get("added_tokens"), vocab)
    merges = _read_merges(model.get("merges"), vocab, special_tokens)
    pattern = _read_pattern(content.get("pre_tokenizer"))
    ranks = _read_ranks(vocab, special_tokens)
    try:
        tokenizer = BPETokenizer(ranks, pattern, special_tokens)
        same = list(tokenizer.merges) == merges
    except ValueError as error:
        raise _refused(str(error)) from None
    if not same:
        raise _refused("its merges do not make the tokens in the order of their ids")
    return tokenizer


def _read_characters(content: Mapping[str, Any], folder: Path) -> CharTokenizer:
    _check_part(content["model"], "the model", WORD_LEVEL)
    _check_part(content.get("decoder"), "the decoder", {"type": ["Fuse"]})
    if content.get("pre_tokenizer") != CHARACTER_SPLIT:
        raise _refused("its words are not single characters: it cuts texts otherwise than `save` writes")
    vocab = _read_vocab(content["model"])
    if content["model"].get("unk_token") in vocab:
        raise _refused("it has a token for unknown characters, but a CharTokenizer raises an error for them")
    if not _read_added_tokens(content.get("added_tokens"), vocab).keys() <= vocab.keys():
        raise _refused("it has added tokens, but a CharTokenizer has characters alone")
    tokens = sorted(vocab, key=lambda token: vocab[token])
    are_characters = all(len(token) == 1 for token in tokens)
    are_in_order = [vocab[token] for token in tokens] == list(range(len(tokens)))
    if not (tokens and are_characters and are_in_order):
        raise _refused("its tokens are not single characters with the ids 0, 1, 2, …")
    return _characters_tokenizer("".join(tokens), _read_boundary(folder))


def _read_boundary(folder: Path) -> str | None:
    """The character that begins and ends a word: of all files only tokenizer_config.json tells it."""
    path = folder / TOKENIZER_CONFIG
    config = read_json(path) if path.exists() else {}
    boundary = config.get("bos_token") if isinstance(config, dict) else None
    return boundary if isinstance(boundary, str) else None


def _characters_tokenizer(characters: str, boundary: str | None) -> CharTokenizer:
    try:
        tokenizer = CharTokenizer(characters.removeprefix(boundary or ""), boundary)
    except ValueError as error:
        raise _refused(str(error)) from None
    if tokenizer.characters != characters:
        raise _refused("its characters are not sorted, but a CharTokenizer's are, after the boundary")
    return tokenizer


def _read_pattern(pre_tokenizer: Any) -> str | None:
    """The pattern that cuts a text into chunks: in a ByteLevel that is GPT-2's, or in a Split before it."""
    steps = [pre_tokenizer]
    if _type_of(pre_tokenizer) == "Sequence":
        steps = pre_tokenizer.get("pretokenizers")
    kinds = [_type_of(step) for step in steps] if isinstance(steps, list) else []
    if kinds not in (["ByteLevel"], ["Split", "ByteLevel"]):
        given = " and ".join(kinds) or "empty"
        raise _refused(f"the pre-tokenizer is {given}, but ours is ByteLevel, or a Split before it")
    byte_level = steps[-1]
    _check_part(byte_level, "the pre-tokenizer", {**BYTE_LEVEL, "add_prefix_space": [False]})
    has_own_pattern = byte_level.get("use_regex", True)
    if len(steps) == 1:
        return GPT2_PATTERN if has_own_pattern else None
    if has_own_pattern:
        raise _refused("its texts are cut twice, by a Split and by ByteLevel with use_regex=true")
    return _read_split(steps[0])


def _read_split(step: Mapping[str, Any]) -> str:
    _check_part(step, "the pre-tokenizer", SPLIT)
    pattern = step.get("pattern")
    if not isinstance(pattern, dict) or list(pattern) != ["Regex"] or not isinstance(pattern["Regex"], str):
        raise _refused(f"the pre-tokenizer splits at {pattern!r}, but ours at a regular expression")
    if pattern["Regex"] not in (GPT2_PATTERN, GPT4_PATTERN):
        warnings.warn(
            f"{TOKENIZER}: the pattern {pattern['Regex']!r} is neither GPT-2's nor GPT-4's; tokenizers reads it by "
            "another engine than this package, and may cut some texts otherwise",
            stacklevel=5,
        )
    return pattern["Regex"]


def _read_vocab(model: Mapping[str, Any]) -> dict[str, int]:
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or not all(type(i) is int for i in vocab.values()):
        raise _refused("the vocabulary is no table from tokens to ids")
    return vocab


def _read_added_tokens(added: Any, vocab: Mapping[str, int]) -> dict[str, int]:
    """The special tokens and their ids; those outside the vocabulary have the ids that `tokenizers` gives them."""
    if not isinstance(added, list):
        raise _refused(f"added_tokens is {added!r}, but should be a list")
    special_tokens: dict[str, int] = {}
    next_id = len(vocab)
    for token in added:
        _check_part(token, "an added token", ADDED_TOKEN)
        content = token.get("content")
        if not isinstance(content, str) or content in special_tokens:
            raise _refused(f"the added token {content!r} is no text, or is there twice")
        expected = vocab.get(content, next_id)
        if token.get("id") != expected:
            raise _refused(
                f"the added token {content!r} has id {token.get('id')!r}, but should have {expected}"
            )
        special_tokens[content] = expected
        next_id = max(next_id, expected + 1)
    if len({token.get("normalized") for token in added}) > 1:
        raise _refused("of its added tokens some are normalized and some not, so that one can hide another")
    return special_tokens


def _read_merges(
    merges: Any, vocab: Mapping[str, int], special_tokens: Mapping[str, int]
) -> list[tuple[int, int]]:
    """The merged pairs of ids; in the file each is "a b" or ["a", "b"]."""
    pairs = []
    for merge in merges if isinstance(merges, list) else [merges]:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(token, str) for token in pair):
            raise _refused(f"the merge {merge!r} is no pair of tokens")
        for token in (*pair, "".join(pair)):
            if token not in vocab or token in special_tokens:
                raise _refused(f"the merge {merge!r} needs the token {token!r}, which is no ordinary one")
        pairs.append((vocab[pair[0]], vocab[pair[1]]))
    return pairs


def _read_ranks(vocab: Mapping[str, int], special_tokens: Mapping[str, int]) -> dict[bytes, int]:
    """The bytes and the id of every token that is not special."""
    byte_of = {letter: i for i, letter in enumerate(byte_letters())}
    ranks: dict[bytes, int] = {}
    for token, i in vocab.items():
        if token not in special_tokens:
            if not all(letter in byte_of for letter in token):
                raise _refused(f"the token {token!r} is not spelled in the letters that stand for bytes")
            ranks[bytes(byte_of[letter] for letter in token)] = i
    for token in special_tokens:
        if token in byte_of:
            raise _refused(f"the special token {token!r} is the letter of a byte")
    return ranks


def _check_post_processor(part: Any) -> None:
    """A ByteLevel changes no id, nor does a template of the text alone; others add tokens before or after it."""
    if part is None or _type_of(part) == "ByteLevel":
        return
    if _type_of(part) == "TemplateProcessing" and part.get("single") == TEXT_ALONE:
        return
    raise _refused(f"the post-processor {_type_of(part)} may add tokens to a text, which ours do not")


def _check_part(part: Any, what: str, settings: Settings) -> None:
    """Raise `ValueError` unless `part` has only these settings, with these values; one left out counts as None."""
    if not isinstance(part, dict):
        raise _refused(f"{what} is {part!r}")
    if unknown := sorted(part.keys() - settings.keys()):
        raise _refused(f"{what} has the setting {unknown[0]!r}, which ours do not have")
    for name, allowed in settings.items():
        if allowed is not None and part.get(name) not in allowed:
            wanted = " or ".join(repr(each) for each in allowed)
            raise _refused(f"{what} has {name}={_shortened(part.get(name))}, but ours have {wanted} here")


def _type_of(part: Any) -> str:
    """The type that a part of tokenizer.json names, or "no type"."""
    name = part.get("type") if isinstance(part, dict) else None
    return name if isinstance(name, str) else "no type"


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _refused(reason: str) -> ValueError:
    return ValueError(f"{TOKENIZER} cannot be read: {reason}")


if __name__ == "__main__":
    sys.exit(
        "nnhelpers.huggingface has no command of its own; in Python, huggingface.save(model, FOLDER, tokenizer) "
        "writes a folder and huggingface.load(FOLDER) reads one"
    )
