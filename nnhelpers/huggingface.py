"""Hugging Face's files, in and out: a `GPT` as a folder that `transformers` loads, and such a folder as a `GPT`.

GPT-2's form (learned positions, LayerNorm, GELU) is its GPT2LMHeadModel; the modern one (rotary positions, RMSNorm,
SwiGLU) is LlamaForCausalLM, and with query-key norm Qwen3ForCausalLM. A folder holds config.json, model.safetensors
and, with a tokenizer, tokenizer.json. Neither direction needs `transformers`, and nothing in a folder is ever run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .contracts import StrPath
from .files import read_json, read_tensors, write_json, write_tensors
from .gpt import EPS, GPT, GPTConfig

CLASSES = {"gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}
PREFIXES = {"gpt2": "transformer.", "llama": "model.", "qwen3": "model."}  # which some writers leave out
END = "<|endoftext|>"
NAMES = """
    token_embedding       wte           embed_tokens
    position_embedding    wpe           -
    norm                  ln_f          norm
    head                  lm_head       lm_head
    blocks                h             layers
    norm_1                ln_1          input_layernorm
    attention.qkv         attn.c_attn   self_attn.q_proj,self_attn.k_proj,self_attn.v_proj
    attention.q_norm      -             self_attn.q_norm
    attention.k_norm      -             self_attn.k_norm
    attention.proj        attn.c_proj   self_attn.o_proj
    norm_2                ln_2          post_attention_layernorm
    feed_forward.gate     -             mlp.gate_proj
    feed_forward.up       mlp.c_fc      mlp.up_proj
    feed_forward.down     mlp.c_proj    mlp.down_proj
"""  # ours, GPT-2's, and Llama's, where one matrix of ours is three
SETTINGS = {"vocab_size": ("vocab_size",) * 2, "block_size": ("n_positions", "max_position_embeddings")}
SETTINGS |= {"n_embd": ("n_embd", "hidden_size"), "n_layer": ("n_layer", "num_hidden_layers")}
SETTINGS |= {"n_head": ("n_head", "num_attention_heads"), "dropout": ("resid_pdrop", "attention_dropout")}
# buffers of older versions: the causal mask and the speeds of rotary positions
IGNORED = re.compile(r"h\.\d+\.attn\.(masked_)?bias|(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")


def export(model: GPT, folder: StrPath, tokenizer: Any = None) -> None:
    """Write `model`, and the tokenizer if one is given, into `folder`, from which `transformers` loads them.

    GPT-2's form with bias=False gets biases of zero, because GPT2LMHeadModel has no other; `load` drops them again.
    The tokenizer is a `CharTokenizer`, or has a method `to_huggingface(folder)` as `BPETokenizer` has. Every file is
    written whole or not at all, config.json last. A form that no class of `transformers` has raises `ValueError`.
    """
    config, kind, folder = model.config, _kind(model.config), Path(folder)
    gpt2, end = kind == "gpt2", _check_tokenizer(tokenizer, config.vocab_size)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "model.safetensors", _their_tensors(model, kind), {"format": "pt"})
    if hasattr(tokenizer, "to_huggingface"):
        tokenizer.to_huggingface(folder)
    elif tokenizer is not None:
        _write_characters(tokenizer, folder)
    settings = {
        "architectures": [CLASSES[kind]],
        "model_type": kind,
        "tie_word_embeddings": config.tie_weights,
    }
    settings |= {"dtype": str(model.head.weight.dtype).removeprefix("torch.")}
    settings |= {theirs[not gpt2]: getattr(config, ours) for ours, theirs in SETTINGS.items()}
    settings |= {name: values[0] for name, values in _fixed(config, kind).items() if values[0] is not None}
    settings |= {"bias": config.bias} if gpt2 else {}  # a note to `load`
    write_json(folder / "config.json", settings | {"bos_token_id": end, "eos_token_id": end})


def load(folder: StrPath) -> GPT:
    """The `GPT` in a folder of `transformers` (GPT-2, Llama, Qwen 3) whose settings are among ours; in eval mode.

    Reads model.safetensors, or the files that model.safetensors.index.json lists. Settings that a `GPT` does not have,
    tensors that are missing, unexpected or of a wrong shape, and damaged or pickled files raise `ValueError`.
    """
    settings = read_json(Path(folder) / "config.json")
    kind = settings.get("model_type") if isinstance(settings, dict) else None
    if not isinstance(kind, str) or kind not in CLASSES:
        raise ValueError(f"config.json: a model_type of {', '.join(CLASSES)} can be read, got {kind!r}")
    config, tensors = _config(settings, kind), _without_prefix(_read_weights(Path(folder)), PREFIXES[kind])
    if config.n_layer > len(tensors):
        raise ValueError(f"config.json asks for {config.n_layer} layers, more than there are tensors")
    ours = _our_tensors(config, kind, tensors)
    dtypes = {tensor.dtype for tensor in ours.values()}
    if len(dtypes) > 1 or not ours["norm.weight"].is_floating_point():
        raise ValueError(f"weights have one floating-point type, got {', '.join(sorted(map(str, dtypes)))}")
    model = GPT(config).to(dtypes.pop()).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(ours[name])
    return model


def _theirs(name: str, n_dims: int, kind: str) -> tuple[list[str], bool]:
    """Which tensors, without the prefix, hold our parameter; and whether as (in, out), as GPT-2's blocks have them."""
    names = {row.split()[0]: row.split()[1 if kind == "gpt2" else 2] for row in NAMES.strip().splitlines()}
    stem, suffix = name.rsplit(".", 1)
    if match := re.fullmatch(r"blocks\.(\d+)\.(.+)", stem):
        parts = names[match[2]].split(",")
        stems = [f"{names['blocks']}.{match[1]}.{part}.{suffix}" for part in parts]
        return stems, kind == "gpt2" and n_dims == 2
    return [f"{names[stem]}.{suffix}"], False


def _their_tensors(model: GPT, kind: str) -> dict[str, Tensor]:
    tensors = {}
    for name, p in model.named_parameters():
        theirs, transposed = _theirs(name, p.ndim, kind)
        whole = p.detach().T if transposed else p.detach()
        for their, piece in zip(theirs, whole.chunk(len(theirs)), strict=True):
            tensors[their] = piece
            if kind == "gpt2" and not model.config.bias and name.startswith(("blocks.", "norm.")):
                tensors[their.removesuffix("weight") + "bias"] = piece.new_zeros(piece.shape[-1])
    return {name if name.startswith("lm_head.") else PREFIXES[kind] + name: tensors[name] for name in tensors}


def _our_tensors(config: GPTConfig, kind: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Theirs under our names; all that the model needs have to be there, in their shapes, and none but those."""
    head, tables = tensors.get("lm_head.weight"), ("wte.weight", "embed_tokens.weight")
    if config.tie_weights and head is not None:
        if not any(name in tensors and torch.equal(head, tensors[name]) for name in tables):
            raise ValueError("tie_word_embeddings is set, but lm_head.weight is not the token embedding")
        del tensors["lm_head.weight"]
    if kind == "gpt2" and not config.bias:
        biases = [name for name in tensors if name.endswith(".bias")]
        if any(tensors.pop(name).any() for name in biases):
            raise ValueError('config.json says "bias": false, but some of the biases are not zero')
    with torch.device("meta"):  # shapes alone, so that a damaged config.json does not fill the memory
        parameters = GPT(config).named_parameters()
    ours = {name: _take(name, tuple(p.shape), tensors, kind) for name, p in parameters}
    if tensors:
        raise ValueError(f"this model has no place for the tensors {', '.join(sorted(tensors)[:5])}")
    return ours


def _take(name: str, shape: tuple[int, ...], tensors: dict[str, Tensor], kind: str) -> Tensor:
    """Our parameter `name` of this shape, out of `tensors`, from which its parts are removed."""
    theirs, transposed = _theirs(name, len(shape), kind)
    shape = (shape[0] // len(theirs), *shape[1:])
    shape = shape[::-1] if transposed else shape
    for their in theirs:
        if their not in tensors:
            raise ValueError(f"the weights hold no tensor {their}; are the files complete?")
        if tensors[their].shape != shape:
            given = tuple(tensors[their].shape)
            raise ValueError(f"{their} has shape {given}, but config.json asks for {shape}")
    whole = torch.cat([tensors.pop(their) for their in theirs])
    return whole.T if transposed else whole


def _without_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    kept = {name: name.removeprefix(prefix) for name in tensors}
    if len(set(kept.values())) < len(kept):
        raise ValueError(f"some tensors are there twice, with and without {prefix!r} before their names")
    return {short: tensors[name] for name, short in kept.items() if not IGNORED.fullmatch(short)}


def _read_weights(folder: Path) -> dict[str, Tensor]:
    path, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if path.is_file():
        return read_tensors(path)[0]
    if not index.is_file():
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth"))
        hint = f"; {pickles[0]} is a pickle, and loading one can run any code" if pickles else ""
        raise ValueError(f"{folder.name} holds no model.safetensors{hint}; save it again as safetensors")
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


def _kind(config: GPTConfig) -> str:
    """The model_type of the class that has this form; `ValueError` with what differs if none has."""
    form: dict[str, Any] = {"norm": "layer", "mlp": "gelu", "qk_norm": False}
    if config.position == "rotary":
        form = {"norm": "rms", "mlp": "swiglu"} | ({"qk_norm": True, "bias": False} if config.qk_norm else {})
    form |= {"bos_id": None}
    ours = {name: getattr(config, name) for name in form}
    if differs := [f"{name}={ours[name]!r}" for name in form if ours[name] != form[name]]:
        needed = ", ".join(f"{name}={value!r}" for name, value in form.items())
        but = f"position={config.position!r} with {' and '.join(differs)}"
        raise ValueError(f"transformers has no class for {but}; it needs {needed}")
    return "gpt2" if config.position == "learned" else "qwen3" if config.qk_norm else "llama"


def _fixed(config: GPTConfig, kind: str) -> dict[str, tuple]:
    """What else config.json says of a model of this shape: the value that is written, then others that are read."""
    if kind == "gpt2":
        fixed = {"activation_function": ("gelu_new", "gelu_pytorch_tanh"), "layer_norm_epsilon": (EPS,)}
        fixed |= {"scale_attn_weights": (True,), "scale_attn_by_inverse_layer_idx": (False,)}
        fixed |= dict.fromkeys(("embd_pdrop", "attn_pdrop"), (config.dropout,))
        return fixed | {"add_cross_attention": (False,), "n_inner": (None, 4 * config.n_embd)}
    rope = {"rope_type": "default", "rope_theta": 10_000.0}
    fixed = {"hidden_act": ("silu",), "rms_norm_eps": (EPS,), "intermediate_size": (config.n_hidden,)}
    fixed |= {"num_key_value_heads": (config.n_head, None), "head_dim": (config.head_size, None)}
    fixed |= {"rope_parameters": (rope, None), "rope_theta": (10_000.0,), "rope_scaling": (None,)}
    if kind == "qwen3":
        return fixed | {"attention_bias": (False,), "use_sliding_window": (False,)}
    return fixed | {"attention_bias": (config.bias,), "mlp_bias": (config.bias,)}


def _config(settings: dict[str, Any], kind: str) -> GPTConfig:
    """The shape that config.json gives; `ValueError` for a setting that a `GPT` does not have."""
    gpt2 = kind == "gpt2"
    settings = {SETTINGS["dropout"][not gpt2]: 0.0} | settings
    if missing := [theirs[not gpt2] for theirs in SETTINGS.values() if theirs[not gpt2] not in settings]:
        raise ValueError(f"config.json has no {missing[0]!r}")
    sizes = {ours: settings[theirs[not gpt2]] for ours, theirs in SETTINGS.items()}
    bias = settings.get("bias", True) if gpt2 else settings.get("attention_bias", False)
    tie_weights = settings.get("tie_word_embeddings", gpt2)
    if {type(bias), type(tie_weights)} != {bool} or type(sizes["dropout"]) not in (int, float):
        raise ValueError(
            f"config.json: {bias=}, {tie_weights=} and dropout={sizes['dropout']!r} are no settings"
        )
    form = {} if gpt2 else {"position": "rotary", "norm": "rms", "mlp": "swiglu", "qk_norm": kind == "qwen3"}
    config = GPTConfig(**sizes, **form, bias=bias, tie_weights=tie_weights)
    for name, allowed in (_fixed(config, kind) | {"quantization_config": (None,)}).items():
        value = settings.get(name, 1e-6 if name == "rms_norm_eps" else allowed[0])
        if value not in allowed:
            wanted = " or ".join(repr(each) for each in allowed)
            raise ValueError(f"config.json: {name} is {value!r}, but a GPT has {wanted} here")
    return config


def _check_tokenizer(tokenizer: Any, vocab_size: int) -> int | None:
    """The id of the token that begins and ends a text, if there is one; `ValueError` if the tokenizer does not fit."""
    if tokenizer is None:
        return None
    if not (hasattr(tokenizer, "to_huggingface") or hasattr(tokenizer, "characters")):
        raise ValueError(f"{type(tokenizer).__name__} is no CharTokenizer and has no to_huggingface(folder)")
    if tokenizer.vocab_size > vocab_size:
        raise ValueError(f"the tokenizer has {tokenizer.vocab_size} tokens, but the model reads {vocab_size}")
    ends = {} if getattr(tokenizer, "boundary", None) is None else {END: 0}
    return getattr(tokenizer, "special_tokens", ends).get(END)


def _write_characters(tokenizer: Any, folder: Path) -> None:
    """tokenizer.json of one token a character. A character outside the vocabulary raises there as it does here."""
    split = {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False}
    vocab = {character: i for i, character in enumerate(tokenizer.characters)}
    content: dict[str, Any] = {"version": "1.0", "added_tokens": [], "pre_tokenizer": split}
    content |= {"model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unknown>"}}
    content |= {"decoder": {"type": "Fuse"}}
    write_json(folder / "tokenizer.json", content)
    ends = {} if tokenizer.boundary is None else dict.fromkeys(("bos_token", "eos_token"), tokenizer.boundary)
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    write_json(folder / "tokenizer_config.json", config | ends)
