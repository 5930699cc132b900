"""Printing is never fatal: no command, and no verdict on an answer, ends at what a terminal cannot show."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nnhelpers
from nnhelpers import bpe, train
from nnhelpers.bpe.__main__ import main as bpe_main
from nnhelpers.course import checks
from nnhelpers.terminal import printable, say
from nnhelpers.train.__main__ import main as train_main

ENCODINGS = ["cp1252", "ascii", "utf-16", "utf-8"]
MESSY = "naïve “q” ✓ 汉字 😉 — ½\n"
MAINS = {bpe: bpe_main, train: train_main}


def strict(encoding: str) -> io.TextIOWrapper:
    """A standard output as Python opens it, which raises for what it cannot hold."""
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")


def written(stream: io.TextIOWrapper) -> str:
    return stream.buffer.getvalue().decode(stream.encoding)


# ---- one line


@given(text=st.text(st.characters(), max_size=30), encoding=st.sampled_from(ENCODINGS))
def test_any_text_can_be_printed_and_what_can_be_shown_is_shown(text, encoding):
    stream = strict(encoding)
    say(text, end="", stream=stream)
    assert written(stream) == "".join([shown_alone(character, encoding) for character in text])


def shown_alone(character: str, encoding: str) -> str:
    try:
        return character.encode(encoding).decode(encoding)
    except UnicodeEncodeError:
        n = ord(character)
        return f"\\x{n:02x}" if n < 2**8 else f"\\u{n:04x}" if n < 2**16 else f"\\U{n:08x}"


def test_what_cannot_be_shown_is_an_escape():
    assert printable("✓ ü 😉", strict("cp1252")) == r"\u2713 ü \U0001f609"
    assert printable("✓ ü \ud800", strict("ascii")) == r"\u2713 \xfc \ud800"
    assert printable("✓ \ud800", io.StringIO()) == r"✓ \ud800"


def test_a_reader_that_has_left_is_not_written_to_any_more():
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "w", encoding="utf-8") as stream:
        for _ in range(3):
            say("a line", stream=stream)


# ---- all commands


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a text, a tokenizer, ids, and a run."""
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(MESSY * 200, encoding="utf-8")
    Path("latin.txt").write_bytes("café".encode("latin-1"))
    quiet(bpe_main, "train text.txt --vocab-size 280 --special <汉> --out tok.json")
    quiet(bpe_main, "encode tok.json text.txt --out ids.txt")
    quiet(train_main, f"{TINY} --out run")
    return tmp_path


TINY = (
    "--corpus text.txt --steps 1 --block-size 8 --n-embd 8 --n-head 1 --n-layer 1 --batch-size 2 --device cpu"
)


def quiet(main, command):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main(command.split()) == 0


# command, exit status, and what the output has to show in cp1252 (in ASCII the ï is an escape as well)
COMMANDS = [
    (bpe, "train text.txt --vocab-size 270 --out new.json --special <汉>", 0, ""),
    # the text allows fewer merges: a warning
    (bpe, "train text.txt --vocab-size 9000 --out new.json", 0, ""),
    (bpe, "encode tok.json text.txt", 0, " "),
    (bpe, "encode gpt2 text.txt --out new.txt", 0, ""),
    (bpe, "decode tok.json ids.txt", 0, r"“q” \u2713 \u6c49\u5b57 \U0001f609 — ½"),
    (bpe, "decode tok.json ids.txt --out again.txt", 0, ""),
    (bpe, "encode tok.json 汉.txt", 1, ""),
    (bpe, "encode 汉.json text.txt", 1, ""),
    (train, f"{TINY} --out new", 0, "best: "),
    (train, f"{TINY} --out 汉", 0, "best: "),
    (train, f"{TINY} --out new --prompt ✓", 0, r"\u2713"),
    (train, f"{TINY} --out new --sample 0", 0, "best: "),
    (train, f"{TINY} --out new --tokenizer tok.json", 0, "best: "),
    (train, "--resume --out run --steps 1", 0, "best: "),
    (train, f"{TINY} --out new --prompt Щ", 2, ""),
    (train, "--corpus 汉.txt --out new", 2, ""),
    (train, "sample run --tokens 60 --prompt ✓", 0, r"\u2713"),
    (train, "sample run --tokens 60", 0, "\n"),
    (train, "sample 汉", 2, ""),
]


def test_every_module_that_has_commands_is_here():
    package = Path(nnhelpers.__file__).parent
    found = {path.parent.name for path in package.rglob("__main__.py")}
    # that of huggingface says that it has none
    assert found - {"huggingface"} == {module.__name__.rpartition(".")[2] for module in MAINS}


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize(("module", "command", "status", "shown"), COMMANDS)
def test_every_command_ends_well_in_any_encoding(
    module, command, status, shown, encoding, folder, monkeypatch
):
    out, err = strict(encoding), strict(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    # the progress bars are printed too
    monkeypatch.setenv("TQDM_DISABLE", "0")
    assert MAINS[module](command.split()) == status
    if status:
        assert [line for line in written(err).splitlines() if line.startswith("error: ")]
    ascii_shown = shown.encode("ascii", "backslashreplace").decode()
    assert (ascii_shown if encoding == "ascii" else shown) in written(out)


@pytest.mark.parametrize(
    ("module", "command"),
    [(bpe, ""), (bpe, "train"), (bpe, "encode"), (bpe, "decode"), (train, ""), (train, "sample")],
)
def test_every_help_can_be_printed_in_ascii(module, command, monkeypatch):
    out = strict("ascii")
    monkeypatch.setattr(sys, "stdout", out)
    with pytest.raises(SystemExit, match="0"):
        MAINS[module]([*command.split(), "--help"])
    out.flush()
    assert "usage: " in written(out)


def python(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "TQDM_DISABLE": "1"},
        capture_output=True,
        check=False,
        **options,
    )


def test_the_variable_of_the_environment_is_heeded(folder):
    run = python("-m", "nnhelpers.bpe", "decode", "tok.json", "ids.txt")
    assert (run.returncode, run.stderr) == (0, b"")
    assert r"naïve “q” \u2713 \u6c49\u5b57".encode("cp1252") in run.stdout


@pytest.mark.skipif(os.name == "nt", reason="a shell with head")
@pytest.mark.parametrize(
    "command",
    ["nnhelpers.bpe encode gpt2 long.txt", f"nnhelpers.train {TINY} --out new --steps 20 --eval-every 1"],
)
def test_a_command_whose_reader_leaves_goes_on_and_ends_quietly(command, folder):
    Path("long.txt").write_text("to be or not to be\n" * 50_000)
    shell = f"{sys.executable} -m {command} | head -c 9; exit ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert len(run.stdout) == 9
    if "train" in command:
        assert len(Path("new/log.jsonl").read_text().splitlines()) == 20


# ---- the verdicts of the course


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_every_verdict_can_be_printed(encoding, monkeypatch):
    out = strict(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    checks.value("ü", 1.0, 1.0)
    checks.value("汉", 1.0, 2.0, hint="✓ 😉")
    checks.value("stub", None, 2.0)
    checks.holds("holds", "汉", lambda answer: False, "“another”")
    lines = written(out).splitlines()
    assert [line.partition(" ")[0] for line in lines] == [
        r"\u2713",
        r"\u2717",
        r"\u2026" if encoding == "ascii" else "…",
        r"\u2717",
    ]


def test_an_answer_that_prints_what_the_terminal_cannot_show_is_right_all_the_same(monkeypatch):
    out = strict("ascii")
    monkeypatch.setattr(sys, "stdout", out)

    def double(x):
        print("✓ 汉")
        return 2 * x

    checks.function("double", double, [((2,), 4)])
    assert written(out).splitlines() == [r"\u2713 \u6c49", r"\u2713 double: right"]


def test_a_script_with_checks_ends_well():
    run = python("-c", "from nnhelpers.course import checks; checks.value('ü', 1, 1)")
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout == r"\u2713 ü: right".encode("cp1252") + os.linesep.encode()
