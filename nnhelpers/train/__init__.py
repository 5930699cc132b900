"""Training a GPT on a text, on a CPU, a GPU, or many.

    python -m nnhelpers.train --out runs/plays
    python -m nnhelpers.train --out runs/plays --resume
    python -m nnhelpers.train --init-from runs/plays --corpus FILE --out runs/tuned
    python -m nnhelpers.train sample runs/plays --prompt "ROMEO:"
    torchrun --nproc-per-node 4 -m nnhelpers.train --preset gpt2 --corpus FILE --out runs/gpt2

or in Python

    log = train(Settings(out="runs/plays", steps=1000))
    model, tokenizer = load_run("runs/plays")
    model, tokenizer = load_trained("plays-chars")  # one that comes with the package

The folder of a run holds best.safetensors (the parameters of the lowest validation loss), last.safetensors (all that
the run goes on from), log.jsonl, the tokenizer and the tokens.
"""

from .loading import TRAINED, load_run, load_tokenizer, load_trained, save_half
from .run import RunLog, train
from .settings import PRESETS, Settings

__all__ = [
    "PRESETS",
    "TRAINED",
    "RunLog",
    "Settings",
    "load_run",
    "load_tokenizer",
    "load_trained",
    "save_half",
    "train",
]
