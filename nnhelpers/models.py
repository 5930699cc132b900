"""Any model of the package to a file and back.

    models.save(model, "names.safetensors")
    model = models.load("names.safetensors")

The file is in the safetensors format: the numbers of the model, and beside them the name of its class and its settings.
It is written whole or not at all, and reading it runs nothing that stands in it. A tokenizer has `save` and `load` of
its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import layers
from .contracts import StrPath
from .files import digest, read_tensors, write_tensors
from .gpt import GPT, GPTConfig
from .mlp import MLP
from .ngram import AdditiveNGram, KneserNey, ModifiedKneserNey
from .wavenet import DilatedTree, Tree, WaveNet

FORMAT = "nnhelpers.model 1"  # the number changes with the file's layout and names
Config = dict[str, Any]
COUNTING = (AdditiveNGram, KneserNey)


def save(model: Any, path: StrPath) -> None:
    """Write a model of this package to a file, with its settings: `load` needs nothing else.

    `ValueError` for a model of another class, and for one that was changed after it was built (a layer exchanged, say):
    its settings do not describe it any more.
    """
    name, config = _described(model)
    tensors = _tensors(model)
    if not (isinstance(model, COUNTING) or _is_unchanged(model, name, config)):
        raise _changed(name)
    text = json.dumps(config)
    metadata = {"format": FORMAT, "class": name, "config": text, "sha256": digest(tensors, name + text)}
    write_tensors(path, tensors, metadata)


def load(path: StrPath) -> Any:
    """The model in a file that `save` wrote, on the CPU and in eval mode; its outputs are those of the model saved.

    `FileNotFoundError`, or `ValueError` for a file that is damaged, of another kind, or of a class that is not known.
    """
    tensors, metadata = read_tensors(path)
    file = Path(path).name
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{file} was not written by models.save: it should say {FORMAT!r}, and says {metadata.get('format')!r}"
        )
    name, text = metadata.get("class", ""), metadata.get("config", "")
    if metadata.get("sha256") != digest(tensors, name + text):
        raise ValueError(f"{file} is damaged: what it holds is not what was written")
    if name not in CLASSES:
        raise ValueError(f"{file} holds a model of the class {name!r}, which is none of {', '.join(CLASSES)}")
    try:
        model = _build(name, json.loads(text))
        _fill(model, tensors)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise ValueError(f"{file} does not describe a {name}: {error}") from None
    return model if isinstance(model, COUNTING) else model.eval()


# The settings of each class: what it has to be called with, to be built again


def _gpt_config(model: GPT) -> Config:
    return asdict(model.config)


def _mlp_config(model: MLP) -> Config:
    table, head = model.layers[0], model.layers[-1]
    n_linear = sum(isinstance(layer, layers.Linear) for layer in model.layers)
    kinds = {type(layer) for layer in model.layers}
    norms = {layers.BatchNorm1d: "batch", layers.LayerNorm: "layer"}
    return {
        "vocab_size": table.weight.shape[0],
        "block_size": model.block_size,
        "n_embd": table.weight.shape[1],
        "n_hidden": head.weight.shape[1],
        "n_layer": n_linear - 1,
        "activation": "tanh" if layers.Tanh in kinds else "relu",
        "norm": next((norm for kind, norm in norms.items() if kind in kinds), None),
    }


def _sequential_config(model: layers.Sequential) -> Config:
    return {"layers": [_described(layer) for layer in model.layers]}


def _embedding_config(layer: layers.Embedding) -> Config:
    num_embeddings, embedding_dim = layer.weight.shape
    return {"num_embeddings": num_embeddings, "embedding_dim": embedding_dim}


def _linear_config(layer: layers.Linear) -> Config:
    out_features, in_features = layer.weight.shape
    return {"in_features": in_features, "out_features": out_features, "bias": layer.bias is not None}


def _batch_norm_config(layer: layers.BatchNorm1d) -> Config:
    return {"num_features": len(layer.weight), "eps": layer.eps, "momentum": layer.momentum}


def _layer_norm_config(layer: layers.LayerNorm) -> Config:
    return {"normalized_shape": len(layer.weight), "eps": layer.eps}


def _no_config(layer: layers.Layer) -> Config:
    return {}


def _tree_config(model: Tree | DilatedTree) -> Config:
    return {
        "vocab_size": model.embedding.num_embeddings,
        "block_size": model.block_size,
        "n_embd": model.embedding.embedding_dim,
        "n_hidden": model.head.in_features,
    }


def _wavenet_config(model: WaveNet) -> Config:
    gated: list[Any] = list(model.layers)
    return {
        "vocab_size": model.embedding.num_embeddings,
        "n_channels": model.embedding.embedding_dim,
        "dilations": [layer.conv.dilation for layer in gated],
        "kernel_size": gated[0].conv.kernel_size,
        "n_skip": gated[0].n_skip,
        "dropout": gated[0].dropout.p,
        "bos_id": model.bos_id,
    }


def _ngram_config(model: AdditiveNGram | KneserNey) -> Config:
    config: Config = {"order": model.order, "vocab_size": model.vocab_size}
    if isinstance(model, AdditiveNGram):
        config["alpha"] = float(model.alpha)
    elif not isinstance(model, ModifiedKneserNey):
        config["discount"] = None if model.discount is None else float(model.discount)
    return config


CONFIGS: dict[type, Callable[[Any], Config]] = {
    GPT: _gpt_config,
    MLP: _mlp_config,
    Tree: _tree_config,
    DilatedTree: _tree_config,
    WaveNet: _wavenet_config,
    AdditiveNGram: _ngram_config,
    KneserNey: _ngram_config,
    ModifiedKneserNey: _ngram_config,
    layers.Sequential: _sequential_config,
    layers.Embedding: _embedding_config,
    layers.Linear: _linear_config,
    layers.BatchNorm1d: _batch_norm_config,
    layers.LayerNorm: _layer_norm_config,
    layers.Flatten: _no_config,
    layers.ReLU: _no_config,
    layers.Tanh: _no_config,
}
CLASSES = {kind.__name__: kind for kind in CONFIGS}


def _described(model: Any) -> tuple[str, Config]:
    """The name of the class and the settings of a model, or of a layer in one."""
    kind = type(model)
    if kind not in CONFIGS:
        raise ValueError(
            f"a {kind.__module__}.{kind.__qualname__} cannot be saved with its settings, only {', '.join(CLASSES)}; "
            "write the numbers alone with files.write_tensors(path, model.state_dict())"
        )
    try:
        return kind.__name__, CONFIGS[kind](model)
    except (AttributeError, IndexError):
        raise _changed(kind.__name__) from None


def _changed(name: str) -> ValueError:
    return ValueError(
        f"this {name} was changed after it was built, so that its settings do not describe it any more; write the "
        "numbers alone with files.write_tensors(path, model.state_dict())"
    )


def _build(name: str, config: Config) -> Any:
    """A new model of this class. The random numbers that others draw stay as they were."""
    with torch.random.fork_rng(devices=[]):
        if name == "GPT":
            return GPT(GPTConfig(**config))
        if name == "DilatedTree":
            return Tree(**config).dilated()
        if name == "Sequential":
            return layers.Sequential(*[_build(*part) for part in config["layers"]])
        return CLASSES[name](**config)


# Its numbers


def _tensors(model: Any) -> dict[str, Tensor]:
    """All numbers of a model by name, each once."""
    if isinstance(model, COUNTING):
        return {name: torch.from_numpy(array) for name, array in model.state_dict().items()}
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _fill(model: Any, tensors: Mapping[str, Tensor]) -> None:
    """Put the numbers of a file into a new model, in the precision that they were saved in."""
    if isinstance(model, COUNTING):
        model.load_state_dict({name: tensor.numpy() for name, tensor in tensors.items()})
        return
    own = _tensors(model)
    if _shapes(own) != _shapes(tensors):
        differ = sorted(_shapes(own).items() ^ _shapes(tensors).items())
        raise ValueError(f"its tensors do not fit its settings, beginning with {differ[0][0]}")
    for name, tensor in own.items():
        # into the layout in memory that the model was built with: a product may depend on it in its last digit
        tensor.data = tensor.data.to(tensors[name].dtype).copy_(tensors[name])


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[tuple[int, ...], bool]]:
    """Of each tensor its shape, and whether it holds decimals."""
    return {name: (tuple(tensor.shape), tensor.is_floating_point()) for name, tensor in tensors.items()}


def _is_unchanged(model: nn.Module | layers.Layer, name: str, config: Config) -> bool:
    """Whether a model built from the settings is this one but for its numbers."""
    try:
        with torch.device("meta"):  # nothing is stored
            again = _build(name, config)
    except ValueError:
        return False
    tensors = _tensors(model)
    all_distinct = len({id(tensor) for tensor in tensors.values()}) == len(tensors)
    return repr(again) == repr(model) and _shapes(_tensors(again)) == _shapes(tensors) and all_distinct
