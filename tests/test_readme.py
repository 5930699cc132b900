"""Every command and every piece of code in the README and the pages behind it runs; the long ones on a small scale."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import nbformat
import pytest

from nnhelpers import data

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = "\n".join(
    [README, *(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))]
)
STEPS = "--steps 2 --warmup-steps 1 --batch-size 4 --gradient-accumulation-steps 1 --eval-every 2 --checkpoint-every 2"
MACHINE = "--sample 3 --device cpu --no-compile"
SIZES = "--n-layer 1 --n-head 2 --n-embd 16 --block-size 8"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGES, flags=re.S)


def run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An empty folder with the text of a person's own, in which the commands are typed one after the other."""
    folder = tmp_path_factory.mktemp("reader")
    text = data.load_shakespeare()[:200_000]
    (folder / "my_text.txt").write_text(text, encoding="utf-8")
    (folder / "data").symlink_to(ROOT / "data")
    shell_commands(folder)
    return folder


def shell_commands(folder: Path) -> None:
    for line in "".join(blocks("shell")).splitlines():
        words = shlex.split(line)
        program = {".venv/bin/python": [], ".venv/bin/torchrun": ["-m", "torch.distributed.run"]}[words[0]]
        words = [
            "2" if word == "4" and words[i] == "--nproc-per-node" else word
            for i, word in enumerate(words[1:])
        ]
        small = []
        if "nnhelpers.train" in words and "sample" not in words:
            small = f"{STEPS} {MACHINE}".split()
            # a run that begins with a model has its sizes
            small += [] if "--init-from" in words else SIZES.split()
        if "--preset" in words and "torch.distributed.run" in program:
            small = [*small, "--tokenizer", "gpt2"]
        run([sys.executable, *program, *words, *small], folder)


def test_the_shell_commands_leave_what_they_say(folder):
    for name in ("own", "own-on-plays", "plays", "mine", "tuned", "mine-on-plays", "large", "gpt2"):
        assert (folder / "runs" / name / "best.safetensors").is_file(), name
    assert (folder / "tok.json").is_file()


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.splitlines()[0][:40])
def test_the_code_runs_as_it_stands(code, folder):
    run([sys.executable, "-c", code], folder)


def test_the_exported_folder_is_what_the_comment_says(folder):
    code = next(code for code in blocks("python") if "plays-for-transformers" in code)
    check = "from transformers import AutoModelForCausalLM\n"
    check += "print(type(AutoModelForCausalLM.from_pretrained('plays-for-transformers')).__name__)"
    assert run([sys.executable, "-c", f"{code}\n{check}"], folder).endswith("ForCausalLM\n")


@pytest.mark.parametrize("command", sorted(set(re.findall(r"\n    (make \w+)\n", PAGES))))
def test_make_commands_are_known_and_say_what_they_would_do(command):
    assert run([*command.split(), "-n"], ROOT)


def test_make_lab_reaches_jupyterlab():
    assert re.search(r"^4\.\d", run(["make", "lab", "LAB_ARGS=--version"], ROOT), flags=re.M)


def test_jupyterlab_starts_without_make_too():
    (line,) = re.findall(r"\n    \.venv/bin/python (-m jupyter lab .*)\n", PAGES)
    assert re.search(r"^4\.\d", run([sys.executable, *line.split(), "--version"], ROOT), flags=re.M)


def test_the_results_in_the_table_of_lectures_are_those_of_the_scoreboard():
    from nnhelpers.course.scoreboard import Corpus, load_scoreboard

    table = README.split("## The lectures")[1].split("##")[0]
    nats = {f"{row.nats:.2f}" for corpus in get_args(Corpus) for row in load_scoreboard(corpus)}
    quoted = re.findall(r"\d\.\d\d", table)
    assert quoted
    assert set(quoted) <= nats


HOURS = {
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "eight": "8",
    "nine": "9",
    "ten to twelve": "10 to 12",
}
HOURS |= {"five and a half": "5½", "six and a half": "6½", "ten": "10", "nine and a half": "9½"}


def test_the_hours_are_those_that_the_lectures_name():
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        (time,) = re.findall(r"\*\*Time:\*\* (.+)", "\n".join(cell.source for cell in cells))
        reading = re.match(r"about (\w+) hours to read and try", time)[1]
        whole = re.search(r"(?:try, |That is )([a-z ]+?)(?: hours,)? (?:with|or four evenings)", time)[1]
        row = rf"\[\w+\]\(notebooks/{path.name}\) \| .+ \| {HOURS[reading]} \| {HOURS[whole]} \|"
        assert re.search(row, README), f"{path.name}: {reading}, {whole}"
