"""Trains the models in models/ again, from nothing: what `make models` runs.

    python data/build_models.py                  # both, into build/models
    python data/build_models.py plays-chars      # one of them
    python data/build_models.py --out FOLDER     # somewhere else
    python data/build_models.py --check          # train nothing: the models in models/ against README.md (a minute)
    python data/build_models.py -- --steps 20    # what follows -- is added to the training command: a try

Each command is printed before it runs, and can be typed by hand. A run that was stopped goes on when it is called
again. Its folder is FOLDER/runs/NAME; what is passed on, in half precision, comes to FOLDER/NAME.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import torch

from nnhelpers import data, evaluation, train
from nnhelpers.batches import text_windows

HERE = Path(__file__).resolve().parent
# What the two have in common: 4.8 and 5.1 million parameters
SHAPE = "--n-layer 6 --n-head 8 --n-embd 256 --qk-norm"
STEPS = "--batch-size 16 --learning-rate 6e-3 --warmup-steps 100 --min-lr-ratio 0 --sample 0"
# What each is trained with: chosen on the end of the training split (README.md)
SETTINGS = {
    "plays-chars": "--block-size 512 --dropout 0.2 --steps 2200 --eval-every 275",
    "plays-tokens": "--block-size 256 --dropout 0.3 --weight-decay 0.5 --steps 2600 --eval-every 325",
}
VOCAB_SIZE = 1024


def tokenizer_command(out: Path) -> str:
    """The tokenizer of "plays-tokens" is learned from the training split alone, a file beside it."""
    return f"python -m nnhelpers.bpe train {out}/train.txt --vocab-size {VOCAB_SIZE} --out {out}/tokens.json"


def training_command(name: str, out: Path) -> str:
    tokenizer = "char" if name == "plays-chars" else f"{out}/tokens.json"
    where = f"--out {out}/runs/{name} --tokenizer {tokenizer} --seed 0"
    return f"python -m nnhelpers.train {where} {SHAPE} {SETTINGS[name]} {STEPS}"


def write_train_split(path: Path) -> None:
    """The characters that training sees: the first nine tenths of the plays."""
    text = data.load_shakespeare()
    path.write_text(text[: int(0.9 * len(text))], encoding="utf-8", newline="\n")


def run(command: str) -> None:
    print(f"\n{command}", flush=True)
    program, *words = shlex.split(command)
    assert program == "python"
    subprocess.run([sys.executable, *words], check=True)


def build(name: str, out: Path, more: list[str]) -> None:
    """Train one model, or go on with its run, and write it in half precision."""
    if name == "plays-tokens":
        out.mkdir(parents=True, exist_ok=True)
        write_train_split(out / "train.txt")
        run(tokenizer_command(out))
    run_folder = out / "runs" / name
    if (run_folder / "last.safetensors").is_file():
        run(f"python -m nnhelpers.train --resume --out {run_folder}")
    else:
        run(shlex.join([*shlex.split(training_command(name, out)), *more]))
    train.save_half(run_folder, out / name)
    print(f"{name} is in {out / name}")


class Row(NamedTuple):
    """What README.md says of a model."""

    sha256: str
    loss: float  # on the whole validation split
    first_loss: float  # on its first windows
    n_first: int  # so many


def recorded_rows(readme: str) -> dict[str, Row]:
    """The rows of the table of README.md, the only home of these numbers."""
    pattern = (
        r"^\| `([\w-]+)` \| `([0-9a-f]{64})` \| (\d\.\d{4}) \| (\d\.\d{4}) on the first (\d+) windows \|"
    )
    rows = re.findall(pattern, readme, re.MULTILINE)
    return {name: Row(sha256, float(loss), float(first), int(n)) for name, sha256, loss, first, n in rows}


def validation_loss(name: str, n_windows: int | None = None) -> float:
    """Nats per character on the validation split, or on its first windows.

    The split is the last tenth of the tokens, cut into windows of the model's block_size, as in training.
    """
    model, tokenizer = train.load_trained(name)
    ids = torch.tensor(tokenizer.encode(data.load_shakespeare()))
    held_out = ids[int(0.9 * len(ids)) :]
    if n_windows is not None:
        held_out = held_out[: n_windows * model.block_size + 1]
    windows = text_windows(held_out, model.block_size)
    nats = evaluation.token_nll(model, *windows, batch_size=4096).nansum().item()
    return nats / len(tokenizer.decode(held_out[1:].tolist()))


def check() -> int:
    """Compare checksums and losses with README.md; the number of differences."""
    n_different = 0
    for name, row in recorded_rows((HERE / "README.md").read_text(encoding="utf-8")).items():
        content = (HERE / "models" / name / "best.safetensors").read_bytes()
        is_same = hashlib.sha256(content).hexdigest() == row.sha256
        loss = validation_loss(name)
        n_different += not is_same or abs(loss - row.loss) > 1e-4
        says = "agrees with its checksum" if is_same else "differs from its checksum"
        print(f"{name} {says}; validation loss {loss:.4f}, README.md says {row.loss:.4f}")
    return n_different


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and train; the exit status is that of a command that failed, or 0."""
    arguments = sys.argv[1:] if arguments is None else arguments
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(description="Train the models in data/models again.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which (both): {', '.join(train.TRAINED)}")
    parser.add_argument(
        "--out", type=Path, default=Path("build/models"), help="folder to write to (build/models)"
    )
    parser.add_argument(
        "--check", action="store_true", help="compare the models in data/models, train nothing"
    )
    options = parser.parse_args(arguments[:cut])
    if unknown := sorted(set(options.names) - set(train.TRAINED)):
        parser.error(f"there is no model {unknown[0]}; there are {', '.join(train.TRAINED)}")
    if options.check:
        return 1 if check() else 0
    try:
        for name in options.names or train.TRAINED:
            build(name, options.out, arguments[cut + 1 :])
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
