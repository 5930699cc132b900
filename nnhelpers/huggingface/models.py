"""A `GPT` in the files of `transformers`, config.json and model.safetensors, written and read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..contracts import StrPath
from ..files import read_json, read_tensors, write_json, write_tensors
from ..gpt import GPT, GPTConfig
from .families import (
    FAMILIES,
    GPT2,
    GPT2_KEYS,
    LLAMA_KEYS,
    QWEN3,
    Choices,
    Family,
    fixed_settings,
    names_of,
    stored_transposed,
    with_prefix,
)
from .folders import CONFIG, WEIGHTS

# buffers that older versions wrote: the causal mask, and the speeds of rotary positions
OLD_BUFFERS = re.compile(r"h\.\d+\.attn\.(masked_)?bias|(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")


# ---- out


def write_model(model: GPT, family: Family, folder: Path, end: int | None) -> None:
    """Both files; `end` is the id of the token that begins and ends a text, if there is one."""
    write_tensors(folder / WEIGHTS, _their_tensors(model, family), {"format": "pt"})
    write_json(folder / CONFIG, _their_config(model, family) | {"bos_token_id": end, "eos_token_id": end})


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
    for name, (value, *_) in fixed_settings(config, family).items():
        if value is not None:
            settings[name] = value
    if family is GPT2:
        # a note to `load`: GPT2LMHeadModel always has biases
        settings["bias"] = config.bias
    return settings


def _their_tensors(model: GPT, family: Family) -> dict[str, Tensor]:
    """The model's parameters by the names, and in the shapes, of `transformers`."""
    needs_biases = family is GPT2 and not model.config.bias
    tensors: dict[str, Tensor] = {}
    for name, p in model.named_parameters():
        names = names_of(name, family)
        whole = p.detach().T if stored_transposed(name, p.ndim, family) else p.detach()
        for their, piece in zip(names, whole.chunk(len(names)), strict=True):
            tensors[their] = piece
            if needs_biases and name.startswith(("blocks.", "norm.")):
                tensors[their.removesuffix("weight") + "bias"] = piece.new_zeros(piece.shape[-1])
    return {with_prefix(name, family): tensor for name, tensor in tensors.items()}


# ---- in


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
    _check_settings(settings, dict(fixed_settings(config, family)) | {"quantization_config": [None]})
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
    names, is_transposed = names_of(name, family), stored_transposed(name, len(shape), family)
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
