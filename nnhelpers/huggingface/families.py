"""The forms of a GPT that `transformers` has a class for: what it calls them, their settings and their tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..gpt import EPS, GPTConfig

Choices = Mapping[str, Sequence[Any]]  # the name of a setting -> the values that it may have


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


def family_of(config: GPTConfig) -> Family:
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


# ---- settings that follow from the shape


def fixed_settings(config: GPTConfig, family: Family) -> Choices:
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


# ---- names of tensors


def names_of(name: str, family: Family) -> list[str]:
    """Which tensors, named without the prefix, hold our parameter `name`."""
    part, suffix = name.rsplit(".", 1)
    layers = ""
    if match := re.fullmatch(r"blocks\.(\d+)\.(.+)", part):
        layers, part = f"{family.parts['blocks'][0]}.{match[1]}.", match[2]
    return [f"{layers}{their}.{suffix}" for their in family.parts[part]]


def stored_transposed(name: str, n_dims: int, family: Family) -> bool:
    """Whether our parameter `name`, with so many dimensions, is turned over in the file."""
    return family.is_transposed and n_dims == 2 and name.startswith("blocks.")


def with_prefix(name: str, family: Family) -> str:
    """The whole name of a tensor in the file."""
    return name if name.startswith("lm_head.") else family.prefix + name
