"""The settings of a training run, with their limits; the presets; and the flags of the command line made from them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from ..gpt import GPTConfig
from .checkpoint import read_checkpoint


def option(
    usual: Any,
    help: str,
    *,
    minimum: float | None = None,
    choices: Sequence[str] | None = None,
    from_model: bool = False,
) -> Any:
    """A field of `Settings`: its value if none is given, what it means, and its least value or all its values.

    One that is `from_model` is None until it is known whether the run begins with a model that says it.
    """
    metadata = {
        "help": help,
        "minimum": minimum,
        "choices": choices,
        "usual": usual,
        "from_model": from_model,
    }
    return field(default=None if from_model else usual, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """All settings of a run. The defaults are the preset "cpu"; values that do not fit raise `ValueError`.

    With `init_from` the tokenizer and the model's settings may be left out: they are None until `train` has read them
    from the folder.
    """

    # the run
    out: str = option("", "folder of the run; by default runs/ and the name of the text")
    resume: bool = option(False, "go on with the run in the folder, with its settings")
    init_from: str = option(
        "",
        "begin a new run with the weights and the tokenizer in this folder: a run, or a GPT-2, Llama or Qwen 3 in "
        "Hugging Face's format; the settings of the model are then its own",
    )
    seed: int = option(0, "seed of the weights, the batches, dropout and the sample", minimum=0)

    # the text
    corpus: str = option(
        "shakespeare", '"shakespeare" for the bundled plays, or the path of a text file (UTF-8)'
    )
    tokenizer: str = option(
        "char",
        '"char", "gpt2", "cl100k_base", "o200k_base", or a file made by python -m nnhelpers.bpe train',
        from_model=True,
    )

    # the model
    architecture: Literal["gpt2", "modern"] = option(
        "modern",
        '"gpt2" (learned positions, LayerNorm, GELU) or "modern" (rotary positions, RMSNorm, SwiGLU)',
        choices=("gpt2", "modern"),
        from_model=True,
    )
    n_layer: int = option(4, "number of transformer blocks", minimum=1, from_model=True)
    n_head: int = option(4, "number of attention heads in a block", minimum=1, from_model=True)
    n_embd: int = option(128, "width of the residual stream", minimum=1, from_model=True)
    block_size: int = option(64, "number of tokens that the model sees", minimum=1, from_model=True)
    dropout: float = option(0.0, "share of activations set to 0 in training", minimum=0)
    qk_norm: bool = option(False, "normalise queries and keys", from_model=True)

    # the steps
    steps: int = option(500, "number of optimizer steps", minimum=1)
    batch_size: int = option(32, "number of sequences in a step, over all processes", minimum=1)
    gradient_accumulation_steps: int = option(
        1, "number of parts into which each process cuts its sequences, to save memory", minimum=1
    )

    # the optimizer
    optimizer: Literal["adamw", "muon"] = option(
        "muon",
        '"adamw", or "muon" for the matrices inside the blocks and AdamW for the rest',
        choices=("adamw", "muon"),
    )
    learning_rate: float = option(1e-2, "highest learning rate", minimum=1e-12)
    min_lr_ratio: float = option(
        0.1, "learning rate at the end, as a share of the highest (0 to 1)", minimum=0
    )
    warmup_steps: int = option(
        50, "number of steps in which the learning rate rises to the highest", minimum=0
    )
    weight_decay: float = option(0.1, "weight decay of the matrices, decoupled", minimum=0)
    beta2: float = option(0.99, "decay rate of AdamW's average of squared gradients", minimum=0)
    grad_clip: float = option(1.0, "largest norm of the gradient; 0 switches clipping off", minimum=0)

    # what is looked at and kept
    eval_every: int = option(250, "steps between full passes over the validation split", minimum=1)
    checkpoint_every: int = option(250, "steps between checkpoints", minimum=1)
    sample: int = option(300, "number of tokens to print at the end", minimum=0)
    prompt: str = option("", "text that the sample goes on from; by default the first validation token")

    # the machine
    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto",
        '"auto" takes a GPU if there is one: a CUDA one, or Apple\'s (mps)',
        choices=("auto", "cpu", "cuda", "mps"),
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = option(
        "auto",
        '"auto" takes bfloat16 on a CUDA GPU, float16 with a gradient scale on one that has no bfloat16, and float32 '
        "elsewhere",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    compile: bool | None = option(None, "compile the model with torch.compile; by default on a CUDA GPU only")
    fsdp: bool = option(False, "spread the model itself over the processes (FSDP) instead of copying it")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Settings:
        """The settings of "cpu", "gpu" (10M parameters) or "gpt2" (GPT-2's smallest, 124M), with changes."""
        if name not in PRESETS:
            raise ValueError(f"a preset is one of {', '.join(PRESETS)}, got {name!r}")
        return cls(**{**preset_values(name, bool(changes.get("init_from"))), **changes})

    def __post_init__(self) -> None:
        if not self.init_from:
            for each in fields(self):
                if getattr(self, each.name) is None:
                    # the way to set a field of a frozen dataclass
                    object.__setattr__(self, each.name, each.metadata["usual"])
        for each in fields(self):
            _check_value(each, getattr(self, each.name))
        if not self.out:
            raise ValueError("out, the folder of the run, is missing")
        if self.beta2 >= 1 or self.min_lr_ratio > 1 or self.seed >= 2**31:
            raise ValueError(
                f"beta2 must be below 1, min_lr_ratio at most 1, and seed below 2**31; got {self.beta2}, "
                f"{self.min_lr_ratio} and {self.seed}"
            )
        if self.fsdp and self.optimizer == "muon":
            raise ValueError(
                "Muon needs whole matrices, which fsdp spreads out: use --optimizer adamw with it"
            )

    def filled(self, values: Mapping[str, Any]) -> Settings:
        """With these values for the settings of the model that were left out."""
        missing = {name: values[name] for name in OF_THE_MODEL if getattr(self, name) is None}
        return replace(self, **missing)

    def model_config(self, vocab_size: int) -> GPTConfig:
        """The shape of the model for a vocabulary; `ValueError` for settings that do not fit each other."""
        make = GPTConfig.modern if self.architecture == "modern" else GPTConfig
        return make(
            vocab_size,
            self.block_size,
            n_layer=self.n_layer,
            n_head=self.n_head,
            n_embd=self.n_embd,
            dropout=self.dropout,
            qk_norm=self.qk_norm,
        )


# the settings that a model which a run begins with decides
OF_THE_MODEL = tuple(each.name for each in fields(Settings) if each.metadata["from_model"])
# what a run began with if it began before there was such a setting
USUAL = {each.name: each.metadata["usual"] for each in fields(Settings)}

# what differs from the defaults
PRESETS: dict[str, dict[str, Any]] = {
    "cpu": {},
    "gpu": {
        "n_layer": 6,
        "n_head": 6,
        "n_embd": 384,
        "block_size": 256,
        "dropout": 0.2,
        "steps": 5_000,
        "batch_size": 64,
        "learning_rate": 2e-3,
        "warmup_steps": 100,
    },
    "gpt2": {
        "tokenizer": "gpt2",
        "architecture": "gpt2",
        "n_layer": 12,
        "n_head": 12,
        "n_embd": 768,
        "block_size": 1024,
        "steps": 19_000,
        "batch_size": 512,
        "gradient_accumulation_steps": 16,
        "optimizer": "adamw",
        "learning_rate": 6e-4,
        "warmup_steps": 700,
        "beta2": 0.95,
        "eval_every": 500,
        "checkpoint_every": 500,
    },
}


def preset_values(name: str, has_model: bool) -> dict[str, Any]:
    """What a preset says; a run that begins with a model takes the settings of the model from there."""
    return {key: value for key, value in PRESETS[name].items() if not (has_model and key in OF_THE_MODEL)}


# What a resumed run may change: nothing that alters its numbers by more than (from `device` on) rounding.
MAY_CHANGE = (
    "out",
    "corpus",
    "resume",
    "checkpoint_every",
    "sample",
    "prompt",
    "device",
    "compile",
    "fsdp",
)


# What it may lower, if the loss was not finite. A gradient that is clipped more is lower too.
MAY_FALL = ("learning_rate", "grad_clip")


def _check_value(each: Field[Any], value: Any) -> None:
    """Raise `ValueError` for a value of the wrong type, below the least one, or not among those that are."""
    kind, minimum, choices = _kind(each), each.metadata["minimum"], each.metadata["choices"]
    if value is None and each.default is None:
        return
    right_type = type(value) is kind or (kind is float and type(value) is int)
    if choices and value not in choices:
        raise ValueError(f"{each.name} must be one of {', '.join(choices)}, got {value!r}")
    if not right_type or (minimum is not None and not minimum <= value < math.inf):
        limit = "" if minimum is None else f" of at least {minimum:g}"
        raise ValueError(f"{each.name} must be {kind.__name__}{limit}, got {value!r}")


def _kind(each: Field[Any]) -> type:
    usual = each.metadata["usual"]
    return bool if usual is None else type(usual)


def read_flags(arguments: Sequence[str] | None) -> Settings:
    """What the flags say; what they leave out is as in the preset, or as in the run to be resumed."""
    given = vars(_parser().parse_args(arguments))
    preset = given.pop("preset")
    if given.get("resume") and given.get("init_from"):
        raise ValueError(
            "--init-from begins a new run and --resume goes on with one: leave one of the two out"
        )
    given.setdefault("out", default_folder(given.get("corpus", "shakespeare")))
    values: dict[str, Any] = {}
    if given.get("resume"):
        path = Path(given.get("out", "")) / "last.safetensors"
        values.update(read_checkpoint(path, "settings")[1]["settings"])
    if preset:
        values.update({each.name: each.default for each in fields(Settings)})
        values.update(preset_values(preset, bool(given.get("init_from"))))
    unknown = values.keys() - {each.name for each in fields(Settings)}
    if unknown:
        raise ValueError(
            f"the run in the folder has other settings than this version ({', '.join(sorted(unknown))}); go on with it "
            "in the version that began it"
        )
    return Settings(**{**values, **given})


def default_folder(corpus: str) -> str:
    """Where a run goes if nothing is said: runs/plays, or runs/ and the name of the text file without its ending."""
    name = "plays" if corpus == "shakespeare" else Path(corpus).stem
    return str(Path("runs") / name)


def _parser() -> argparse.ArgumentParser:
    """A flag for every setting; only those that are given turn up in what the parser returns."""
    parser = argparse.ArgumentParser(
        "python -m nnhelpers.train",
        usage="%(prog)s [--out FOLDER] [settings]\n       %(prog)s sample FOLDER [--help]",
        description="Train a GPT on a text.",
    )
    parser.add_argument("--preset", choices=tuple(PRESETS), help="the settings to start from (cpu)")
    for each in fields(Settings):
        flag = f"--{each.name.replace('_', '-')}"
        help = f"{each.metadata['help']} ({_defaults(each)})".replace("%", "%%")
        if _kind(each) is bool:
            parser.add_argument(
                flag, help=help, default=argparse.SUPPRESS, action=argparse.BooleanOptionalAction
            )
        else:
            parser.add_argument(
                flag,
                help=help,
                default=argparse.SUPPRESS,
                type=_kind(each),
                choices=each.metadata["choices"],
            )
    return parser


def _defaults(each: Field[Any]) -> str:
    """The default of a setting, or its value in each preset where they differ."""
    values = {name: changes.get(each.name, each.metadata["usual"]) for name, changes in PRESETS.items()}
    if len(set(values.values())) > 1:
        return ", ".join(f"{name}: {value}" for name, value in values.items())
    usual = each.metadata["usual"]
    if usual in ("", None):
        return "not set"
    if isinstance(usual, bool):
        return "yes" if usual else "no"
    return str(usual)
