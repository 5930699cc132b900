"""Training in several processes is training in one; and a run that is killed goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nnhelpers import data
from nnhelpers.train import checkpoint, load_run, train
from nnhelpers.train.__main__ import main
from nnhelpers.train.settings import read_flags

SHAPE = "--n-layer 2 --n-head 2 --n-embd 16 --block-size 8 --batch-size 8 --device cpu --sample 4"
RUN = f"{SHAPE} --steps 20 --warmup-steps 3 --learning-rate 0.001 --eval-every 8 --checkpoint-every 6"
# a name, the flags for one process, and those for two; the last one is begun by one process and ended by two
CASES = [
    ("muon", "", ""),
    ("adamw", "--optimizer adamw", "--optimizer adamw"),
    ("parts", "--gradient-accumulation-steps 4", "--gradient-accumulation-steps 2"),
    ("dropout", "--dropout 0.2", "--dropout 0.2"),
    ("fsdp", "--optimizer adamw", "--optimizer adamw --fsdp"),
    ("shared", "--optimizer adamw", "--fsdp --resume"),
]
WORKER = """
import gc, json, sys
import torch.distributed as dist
from nnhelpers.train.__main__ import main
codes = [main(each) for each in json.loads(sys.argv[1])]
sys.stdout.write(f"codes {codes}\\n")  # in one piece: another process writes, too
sys.stdout.flush()
gc.collect()  # models that hold on to the group go before it
dist.barrier()  # a process that leaves while another still talks to it can bring that one down
dist.destroy_process_group()
"""


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "PYTHONWARNINGS": "error"}


def records(folder):
    return [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text(data.load_shakespeare()[:20_000], encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folders(corpus, tmp_path_factory):
    """Every case, trained by one process in one/NAME and by two in two/NAME; and what the two printed."""
    root, threads = tmp_path_factory.mktemp("runs"), torch.get_num_threads()
    commands = []
    os.environ["TQDM_DISABLE"] = "1"
    torch.set_num_threads(1)
    for name, one, two in CASES:
        start = f"--corpus {corpus} {RUN}".split()
        assert main([*start, *one.split(), "--out", str(root / "one" / name)]) == 0
        if name == "shared":
            half_done(root / "one" / name, [*start, *one.split(), "--out", str(root / "two" / name)])
        commands.append(
            [*([] if name == "shared" else start), *two.split(), "--out", str(root / "two" / name)]
        )
    torch.set_num_threads(threads)
    commands.append([*start, "--batch-size", "7", "--out", str(root / "odd")])
    commands.append([*start, "--out", str(root / "two" / "muon")])  # there is a run in it
    (root / "worker.py").write_text(WORKER)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, str(root / "worker.py"), json.dumps(commands)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return root, done


def half_done(whole, command):
    """Begin a run and stop it after its eleventh step."""

    def stop(record):
        if record["step"] == 10:
            os.kill(os.getpid(), signal.SIGINT)

    assert train(read_flags(command), after_step=stop).signal == signal.SIGINT


@pytest.mark.parametrize("name", [name for name, _, _ in CASES if name != "dropout"])
def test_two_processes_have_the_losses_of_one(name, folders):
    one, two = (records(folders[0] / number / name) for number in ("one", "two"))
    assert [record["step"] for record in two] == list(range(1, 21))
    assert [record["loss"] for record in two] == pytest.approx([record["loss"] for record in one], abs=1e-5)
    for key in ("lr", "val_loss"):
        ones = [record[key] for record in one if key in record]
        assert [record[key] for record in two if key in record] == pytest.approx(ones, abs=1e-5)


@pytest.mark.parametrize("name", [name for name, _, _ in CASES if name != "dropout"])
def test_two_processes_make_the_model_and_the_checkpoint_of_one(name, folders):
    one, two = (load_file(folders[0] / number / name / "last.safetensors") for number in ("one", "two"))
    assert {name: tensor.shape for name, tensor in one.items()} == {
        n: tensor.shape for n, tensor in two.items()
    }
    for key in one:
        torch.testing.assert_close(two[key], one[key], rtol=1e-2, atol=2e-4, msg=key)
    assert load_run(folders[0] / "two" / name)[0].config == load_run(folders[0] / "one" / name)[0].config


def test_processes_have_dropout_masks_of_their_own(folders):
    one, two = (records(folders[0] / number / "dropout") for number in ("one", "two"))
    gaps = [abs(a["loss"] - b["loss"]) for a, b in zip(one, two, strict=True)]
    assert 1e-5 < max(gaps) < 0.2


def test_only_the_first_process_speaks(folders):
    root, done = folders
    assert done.stdout.count("step     20") == len(CASES)
    assert done.stdout.count("codes [0, 0, 0, 0, 0, 0, 2, 2]") == 2
    assert done.stdout.count("equal up to rounding and dropout") == 1
    assert done.stderr.count("batch_size=7 cannot be divided into 2 parts") == 1
    assert done.stderr.count("add --resume, or take another folder") == 1
    assert not (root / "odd").exists()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "1"}, "RANK is 1, but WORLD_SIZE is 1: start several processes with torchrun"),
        ({"RANK": "0", "WORLD_SIZE": "1"}, "there is no file 'nope.txt'"),
    ],
)
def test_no_process_keeps_its_error_to_itself(variables, message, tmp_path):
    command = [sys.executable, "-m", "nnhelpers.train", "--corpus", "nope.txt", "--out", str(tmp_path / "r")]
    done = subprocess.run(
        command, env={**environment(), **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("error") == 1
    assert message in done.stderr


def test_a_second_process_in_the_folder_of_a_run_is_refused_and_a_killed_one_is_no_hindrance(
    corpus, tmp_path, capsys
):
    folder = tmp_path / "run"
    folder.mkdir()
    start = f"--corpus {corpus} {RUN} --out {folder}".split()
    hold = "import sys; from nnhelpers.files import in_use\n"
    hold += "with in_use(sys.argv[1]): print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(folder / "run.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "held\n"
        assert main(start) == 2
        assert f"is in use by process {other.pid}; wait until it has ended" in capsys.readouterr().err
        assert [path.name for path in folder.iterdir()] == ["run.lock"]
        other.kill()
    assert (folder / "run.lock").is_file()
    assert main(start) == 0
    assert not (folder / "run.lock").exists()


def test_a_run_that_is_killed_at_any_moment_goes_on_bit_for_bit(corpus, tmp_path):
    start = f"--corpus {corpus} {SHAPE} --steps 150 --eval-every 5 --checkpoint-every 3 --dropout 0.1".split()
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    os.environ["TQDM_DISABLE"] = "1"
    assert main([*start, "--out", str(whole)]) == 0
    moments, killed = random.Random(7), []
    for next_step in (moments.randrange(5, 40), moments.randrange(50, 90), moments.randrange(100, 140)):
        kill_after(next_step, moments.uniform(0, 0.02), [*start, "--out", str(parts)], killed)
    saved = checkpoint.read_checkpoint(parts / "last.safetensors")[1]
    assert saved["step"] < 150, "it was not killed but ended"
    assert saved["best_loss"] == min(
        r["val_loss"] for r in records(whole)[: saved["step"]] if "val_loss" in r
    )
    assert main(["--resume", "--out", str(parts)]) == 0
    assert records(parts) == records(whole)
    for name in ("last", "best"):
        a, b = (load_file(folder / f"{name}.safetensors") for folder in (whole, parts))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)
    assert not list(parts.glob(".*"))


def kill_after(step, seconds, start, killed):
    """Begin the run, or go on with it; kill -9 it a little after so many lines stand in its log."""
    folder = Path(start[-1])
    command = [*start, "--resume"] if killed else start
    process = subprocess.Popen(
        [sys.executable, "-m", "nnhelpers.train", *command], env=environment(), stdout=subprocess.DEVNULL
    )
    log, deadline = folder / "log.jsonl", time.monotonic() + 60
    while not log.is_file() or log.read_bytes().count(b"\n") < step:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(seconds)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    killed.append(step)
