"""The settings of `nnhelpers.train`: a table of their values in each preset, their limits, and their flags."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .checkpoint import read_checkpoint

PRESETS = ("cpu", "gpu", "gpt2")  # one value below holds for all, two for cpu and the rest


def setting(text: str, *values: Any, least: float | None = None, of: Sequence[str] = ()) -> Any:
    """A field of a dataclass of settings: what it is, its value in the presets (the last one counts for those
    left), and its least value or all its values."""
    return field(default=values[0], metadata={"text": text, "values": values, "least": least, "of": of})


def preset_values(settings: type, number: int) -> dict[str, Any]:
    """The value of every setting in a preset, counted from 0."""
    return {each.name: each.metadata["values"][: number + 1][-1] for each in fields(settings)}


def check_settings(settings: Any) -> None:
    """Raise `ValueError` for a value of the wrong type, below the least one, or not among those that are."""
    for each in fields(settings):
        value, kind = getattr(settings, each.name), _kind(each)
        least, choices = each.metadata["least"], each.metadata["of"]
        fits = type(value) is kind or (kind is float and type(value) is int)
        fits = fits or value is None is each.default
        if fits and least is not None:
            fits = least <= value < math.inf
        if not fits or (choices and value not in choices):
            wanted = f"one of {', '.join(choices)}" if choices else kind.__name__
            wanted += f" of at least {least:g}" if least is not None else ""
            raise ValueError(f"{each.name} must be {wanted}, got {value!r}")


def _kind(each: Any) -> type:
    return bool if each.default is None else type(each.default)


def add_flags(parser: argparse.ArgumentParser, settings: type, presets: Sequence[str]) -> None:
    """A flag for every setting; only those that are given turn up in what the parser returns."""
    for each in fields(settings):
        values = [f"{name}: {preset_values(settings, i)[each.name]}" for i, name in enumerate(presets)]
        defaults = ", ".join(values) if len(each.metadata["values"]) > 1 else each.default
        options = {"help": f"{each.metadata['text']} ({defaults})", "default": argparse.SUPPRESS}
        if _kind(each) is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options |= {"type": _kind(each), "choices": each.metadata["of"] or None, "metavar": None}
        parser.add_argument(f"--{each.name.replace('_', '-')}", **options)


@dataclass(frozen=True)
class Settings:
    """All settings of a run, by default those of the preset "cpu"; values that do not fit raise `ValueError`."""

    out: str = setting("folder of the run", "")
    corpus: str = setting('"shakespeare" or a text file (UTF-8)', "shakespeare")
    tokenizer: str = setting("char, gpt2, cl100k_base or a file of nnhelpers.bpe", "char", "char", "gpt2")
    form: str = setting("GPT-2's, or today's", "modern", "modern", "gpt2", of=("gpt2", "modern"))
    n_layer: int = setting("blocks", 4, 6, 12)
    n_head: int = setting("attention heads of a block", 4, 6, 12)
    n_embd: int = setting("width", 128, 384, 768)
    block_size: int = setting("tokens that the model sees", 64, 256, 1024)
    dropout: float = setting("share of activations set to 0", 0.0, 0.2, 0.0)
    qk_norm: bool = setting("normalise queries and keys", False)
    batch_size: int = setting("sequences of a step, over all processes", 32, 64, 512, least=1)
    accumulate: int = setting("parts that each process cuts its sequences into", 1, 1, 16, least=1)
    steps: int = setting("updates", 500, 5000, 19000, least=1)
    optimizer: str = setting("of the matrices", "muon", "muon", "adamw", of=("adamw", "muon"))
    rate: float = setting("full learning rate", 1e-2, 2e-3, 6e-4, least=1e-12)
    final_rate: float = setting("share of it at the end", 0.1, least=0)
    warmup: int = setting("steps until the full rate", 50, 100, 700, least=0)
    weight_decay: float = setting("of the matrices, decoupled", 0.1, least=0)
    beta2: float = setting("AdamW's memory of squared gradients", 0.99, 0.99, 0.95, least=0)
    clip: float = setting("largest norm of the gradient, 0 for any", 1.0, least=0)
    seed: int = setting("of weights, batches, dropout and sample", 0, least=0)
    eval_every: int = setting("steps between full passes over the validation split", 250, 250, 500, least=1)
    checkpoint_every: int = setting("steps between checkpoints", 250, 250, 500, least=1)
    device: str = setting("auto is a GPU if there is one", "auto", of=("auto", "cpu", "cuda"))
    dtype: str = setting("auto is bfloat16 on a GPU", "auto", of=("auto", "float32", "bfloat16"))
    compile: bool | None = setting("with torch.compile; None is yes on a GPU", None)
    fsdp: bool = setting("share the model itself out over the processes, by torch's FSDP", False)
    resume: bool = setting("go on with the run in the folder, and its settings", False)
    sample: int = setting("tokens to print at the end", 300, least=0)
    prompt: str = setting("what they follow; empty is the validation split's first token", "")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Settings:
        """The settings of "cpu", "gpu" (10M parameters) or "gpt2" (GPT-2's smallest, 124M), with changes."""
        if name not in PRESETS:
            raise ValueError(f"a preset is one of {', '.join(PRESETS)}, got {name!r}")
        return cls(**{**preset_values(cls, PRESETS.index(name)), **changes})

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.out:
            raise ValueError("out, the folder of the run, is missing")
        if self.beta2 >= 1 or self.final_rate > 1 or self.seed >= 2**31:
            raise ValueError("beta2 must be below 1, final_rate at most 1, and seed below 2**31")
        if self.fsdp and self.optimizer == "muon":
            raise ValueError(
                "Muon needs whole matrices, which fsdp shares out: take the optimizer adamw with it"
            )


def read_flags(arguments: Sequence[str] | None) -> Settings:
    """What the flags say; what they leave out is as in the preset, or as in the run to be resumed."""
    parser = argparse.ArgumentParser("python -m nnhelpers.train", usage="%(prog)s --out FOLDER [settings]")
    parser.description = "Train a GPT on a text."
    parser.add_argument("--preset", choices=PRESETS, help="where the settings start from (cpu)")
    add_flags(parser, Settings, PRESETS)
    given = vars(parser.parse_args(arguments))
    values, preset = {}, given.pop("preset")
    if given.get("resume"):
        path = Path(given.get("out", "")) / "last.safetensors"
        values |= read_checkpoint(path, "settings")[1]["settings"]
    if preset:
        values |= preset_values(Settings, PRESETS.index(preset))
    try:
        return Settings(**{**values, **given})
    except TypeError:
        raise ValueError("the run in the folder has other settings than this version") from None
