"""Runs that are killed with SIGKILL at random moments and resumed until they end: equal to the bit to one never killed.

    python tests/bench/kill_and_resume.py --runs 100

A tiny training saves after every second step, so that many kills fall into the writing of a checkpoint. Each attempt is
a process forked from this one, which has loaded torch already. It is killed at a moment drawn evenly from 0.6 times the
time that a whole run takes; what is left in the folder tells in which part of the run that was. At the end the
parameters, the optimizers' state, the log and the best checkpoint are compared with those of the run never killed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TQDM_DISABLE"] = "1"

import torch

# the optimizers load it at their first step, which would be the greatest part of a run here
import torch._dynamo
from safetensors.torch import load_file

from nnhelpers import data
from nnhelpers.train.__main__ import main as train_command

SHAPE = "--n-layer 2 --n-head 2 --n-embd 16 --block-size 8 --batch-size 8 --device cpu --dropout 0.1"
STEPS = "--steps 120 --warmup-steps 5 --eval-every 5 --checkpoint-every 2 --sample 0"
OPTIMIZERS = ("muon", "adamw")
# of the time of a whole run: the latest moment of a kill
LATEST = 0.6
SAME_FILES = ("log.jsonl", "tokens.bin", "tokenizer.json")


def begin(arguments: list[str]) -> int:
    """Fork a process that trains; its id. What it prints goes nowhere."""
    process = os.fork()
    if process:
        return process
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    code = 70
    try:
        code = train_command(arguments)
    finally:
        os._exit(code)


def ended(process: int) -> int | None:
    """The exit code of a process, or minus the signal that ended it; None while it runs."""
    found, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def killed_after(process: int, seconds: float) -> bool:
    """Kill the process after so many seconds; False if it ended by itself before, as it has to: with code 0."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (code := ended(process)) is not None:
            if code != 0:
                raise SystemExit(f"a run ended with code {code}")
            return False
        time.sleep(0.0005)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def moment(folder: Path) -> str:
    """In which part of the run a process was killed, from what it left behind."""
    half_written = [path.name for path in folder.glob(".*.tmp")]
    if any("last.safetensors" in name for name in half_written):
        return "writing the last checkpoint"
    if any("best.safetensors" in name for name in half_written):
        return "writing the best checkpoint"
    if not (folder / "last.safetensors").exists():
        return "before the first checkpoint"
    log = folder / "log.jsonl"
    if log.exists() and not log.read_bytes().endswith(b"\n") and log.stat().st_size:
        return "writing a line of the log"
    return "between two checkpoints"


def run_to_the_end(arguments: list[str], folder: Path, seconds: float, dice: random.Random) -> Counter[str]:
    """Begin a run, kill it and go on with it until it ends by itself; the moments at which it was killed."""
    moments: Counter[str] = Counter()
    while True:
        has_checkpoint = (folder / "last.safetensors").exists()
        command = ["--resume", "--out", str(folder)] if has_checkpoint else [*arguments, "--out", str(folder)]
        if not killed_after(begin(command), dice.uniform(0.0, seconds)):
            return moments
        moments[moment(folder)] += 1


def differences(one: Path, other: Path) -> list[str]:
    """What differs in two folders of runs, to the bit."""
    found = [name for name in SAME_FILES if (one / name).read_bytes() != (other / name).read_bytes()]
    for name in ("last", "best"):
        a, b = (load_file(folder / f"{name}.safetensors") for folder in (one, other))
        if a.keys() != b.keys():
            found.append(f"the names in {name}.safetensors")
        found += [f"{name}: {key}" for key in a.keys() & b.keys() if not torch.equal(a[key], b[key])]
    if rest := [path.name for path in other.iterdir() if path.suffix in (".tmp", ".lock")]:
        found.append(f"left behind: {rest}")
    return found


def whole_run(arguments: list[str], folder: Path) -> float:
    """A run that is never killed; the seconds that it took."""
    started = time.monotonic()
    if killed_after(begin([*arguments, "--out", str(folder)]), 600.0):
        raise SystemExit("the run took more than ten minutes")
    return time.monotonic() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100, help="number of runs (100)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (0)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    dice, moments, kills = random.Random(options.seed), Counter[str](), []
    wrong, started = 0, time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="kill_and_resume_"))
    (root / "text.txt").write_text(data.load_shakespeare()[:20_000], encoding="utf-8")
    commands, seconds = {}, {}
    for optimizer in OPTIMIZERS:
        commands[optimizer] = f"--corpus {root / 'text.txt'} {SHAPE} {STEPS} --optimizer {optimizer}".split()
        seconds[optimizer] = whole_run(commands[optimizer], root / optimizer)
        print(f"{optimizer}: a run that is never killed takes {seconds[optimizer]:.2f} s", flush=True)
    for i in range(options.runs):
        optimizer, folder = OPTIMIZERS[i % len(OPTIMIZERS)], root / "run"
        found = run_to_the_end(commands[optimizer], folder, LATEST * seconds[optimizer], dice)
        moments += found
        kills.append(found.total())
        if differs := differences(root / optimizer, folder):
            wrong += 1
            print(f"run {i} ({optimizer}, killed {found.total()} times) differs: {differs}", flush=True)
        shutil.rmtree(folder)
    shutil.rmtree(root)
    print(
        f"{options.runs} runs, {sum(kills)} kills ({min(kills)} to {max(kills)} a run), {wrong} runs that differ, "
        f"{time.monotonic() - started:.0f} seconds"
    )
    for what, number in moments.most_common():
        print(f"  {number:5d} {what}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
