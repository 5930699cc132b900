"""A new run that begins with the weights of another: a run of ours, or a folder that `transformers` wrote."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from nnhelpers import data, huggingface
from nnhelpers.batches import text_batches, text_windows
from nnhelpers.bpe import BPETokenizer
from nnhelpers.characters import CharTokenizer
from nnhelpers.evaluation import nll
from nnhelpers.gpt import EPS, GPT
from nnhelpers.train import Settings, checkpoint, load_run, train
from nnhelpers.train.__main__ import main
from nnhelpers.train.settings import read_flags

PLAYS = data.load_shakespeare()
TEXT, OTHER_TEXT = PLAYS[:30_000], PLAYS[:8_000].lower()
BLOCK = 12
BATCH = 8
SHAPE = {"n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": BLOCK}
STEPS = {"batch_size": BATCH, "warmup_steps": 3, "eval_every": 10, "checkpoint_every": 6, "sample": 0}
LLAMA_ROPE = {"rope_type": "default", "rope_theta": 10_000.0}


@pytest.fixture(autouse=True)
def no_bar(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """The texts of the source and of the run that begins with it."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "first.txt").write_text(TEXT, encoding="utf-8")
    (folder / "second.txt").write_text(OTHER_TEXT, encoding="utf-8")
    return folder


def make_run(folder, texts):
    """A finished run of ours."""
    options = {**SHAPE, **STEPS, "steps": 60, "learning_rate": 0.01, "device": "cpu"}
    train(Settings(out=str(folder), corpus=str(texts / "first.txt"), **options))


def make_gpt2(folder, texts):
    """GPT-2's form, with more ids than the tokenizer knows, as many published models have."""
    torch.manual_seed(0)
    sizes = {"n_positions": BLOCK, "n_embd": 32, "n_layer": 2, "n_head": 2}
    GPT2LMHeadModel(GPT2Config(vocab_size=320, initializer_range=0.1, **sizes)).save_pretrained(folder)
    BPETokenizer.train(TEXT, 300, special_tokens=["<|endoftext|>"]).to_huggingface(folder)


def make_llama(folder, texts):
    """Llama's form in half precision, with a head of its own, on characters."""
    torch.manual_seed(0)
    tokenizer = CharTokenizer(TEXT)
    sizes = {"hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(
        vocab_size=tokenizer.vocab_size,
        max_position_embeddings=BLOCK,
        rms_norm_eps=EPS,
        rope_parameters=LLAMA_ROPE,
        tie_word_embeddings=False,
        initializer_range=0.1,
        **sizes,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    huggingface_tokenizer(tokenizer, folder)


def huggingface_tokenizer(tokenizer, folder):
    """Put a tokenizer beside a model that is there already."""
    other = folder.parent / f"{folder.name} tokenizer"
    huggingface.save_tokenizer(tokenizer, other)
    for path in other.iterdir():
        shutil.copy(path, folder)


MAKERS = {"run": make_run, "gpt2": make_gpt2, "llama": make_llama}
each_source = pytest.mark.parametrize("kind", MAKERS)


@pytest.fixture(scope="module")
def sources(texts, tmp_path_factory):
    root = tmp_path_factory.mktemp("sources")
    os.environ["TQDM_DISABLE"] = "1"
    for kind, make in MAKERS.items():
        make(root / kind, texts)
    return root


def load_source(folder):
    """The model of a folder in float32, with tables of positions that were never in half precision; its tokenizer."""
    is_run = (folder / "best.safetensors").exists()
    found, tokenizer = load_run(folder) if is_run else huggingface.load(folder)
    model = GPT(found.config)
    model.load_state_dict(found.float().state_dict())
    return model.eval(), tokenizer


@pytest.fixture
def tuned(sources, texts, tmp_path):
    """Settings of a run on the second text that begins with a source."""

    def make(kind, out="tuned", **changes):
        options = {**STEPS, "steps": 20, "learning_rate": 0.003, "device": "cpu"}
        options |= {"init_from": str(sources / kind), "corpus": str(texts / "second.txt")}
        return Settings(out=str(tmp_path / out), **{**options, **changes})

    return make


def first_batch(tokenizer, block_size=BLOCK, seed=0):
    ids = torch.tensor(tokenizer.encode(OTHER_TEXT, allowed_special="all")).numpy()
    return next(text_batches(ids[: int(0.9 * len(ids))], block_size, BATCH, seed))


# What it begins with


@each_source
def test_the_loss_before_the_first_step_is_that_of_the_source(kind, sources, tuned):
    source, tokenizer = load_source(sources / kind)
    x, y = first_batch(tokenizer)
    expected = nll(source, x, y)
    log = train(tuned(kind, steps=1))
    assert log.losses[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("kind", "theirs"), [("gpt2", GPT2LMHeadModel), ("llama", LlamaForCausalLM)])
def test_the_loss_before_the_first_step_is_that_of_transformers(kind, theirs, sources, tuned):
    x, y = first_batch(huggingface.load_tokenizer(sources / kind))
    other = theirs.from_pretrained(sources / kind, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = F.cross_entropy(other(x).logits.flatten(0, 1), y.flatten()).item()
    assert train(tuned(kind, steps=1)).losses[0] == pytest.approx(expected, abs=1e-5)


@each_source
def test_the_new_run_has_the_tokenizer_and_the_sizes_of_the_source(kind, sources, tuned):
    source, tokenizer = load_source(sources / kind)
    settings = tuned(kind, dropout=0.1)
    train(settings)
    model, its_tokenizer = load_run(settings.out)
    assert model.config == replace(source.config, dropout=0.1)
    assert its_tokenizer == tokenizer
    assert all(p.dtype == torch.float32 for p in model.parameters())


@each_source
def test_a_shorter_block_reads_as_the_source_does(kind, sources, tuned):
    source, tokenizer = load_source(sources / kind)
    x, y = first_batch(tokenizer, block_size=5)
    settings = tuned(kind, steps=1, block_size=5)
    assert train(settings).losses[0] == pytest.approx(nll(source, x, y), abs=1e-5)
    assert load_run(settings.out)[0].block_size == 5


def test_a_finished_run_goes_on_on_another_text_and_its_loss_there_falls(sources, tuned):
    source, tokenizer = load_run(sources / "run")
    ids = torch.tensor(tokenizer.encode(OTHER_TEXT))
    x, y = text_windows(ids[int(0.9 * len(ids)) :], BLOCK)
    before = nll(source, x, y)
    log = train(tuned("run", steps=100))
    assert log.best_loss < before - 0.1
    assert log.best_loss == pytest.approx(nll(load_run(tuned("run").out)[0], x, y), abs=1e-9)
    afresh = train(tuned("run", out="afresh", steps=100, init_from="", **SHAPE))
    assert log.losses[0] < afresh.losses[0] - 0.3


def test_a_run_that_was_stopped_before_it_was_evaluated_is_a_source(texts, tuned, tmp_path):
    def stop(record):
        if record["step"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    options = {**SHAPE, **STEPS, "steps": 60, "learning_rate": 0.01, "device": "cpu"}
    stopped = Settings(out=str(tmp_path / "stopped"), corpus=str(texts / "first.txt"), **options)
    train(stopped, after_step=stop)
    model, tokenizer = load_run(stopped.out, "last")
    log = train(tuned("run", steps=1, init_from=stopped.out))
    assert log.losses[0] == pytest.approx(nll(model, *first_batch(tokenizer)), abs=1e-5)


def test_a_model_with_more_ids_than_its_tokenizer_writes_only_what_it_can_spell(tuned, tmp_path, capsys):
    settings = tuned("gpt2", sample=200, steps=2)
    assert len(train(settings).sample) > 100
    assert main(["sample", settings.out, "--tokens", "200", "--temperature", "3"]) == 0


# The command


def test_the_command_says_what_it_begins_with_and_a_preset_gives_the_rest(sources, texts, tmp_path, capsys):
    command = ["--init-from", str(sources / "gpt2"), "--corpus", str(texts / "second.txt"), "--device", "cpu"]
    command += ["--out", str(tmp_path / "run"), "--steps", "1", "--batch-size", "4", "--sample", "0"]
    assert main([*command, "--preset", "gpu"]) == 0
    assert f"beginning with the weights in {sources / 'gpt2'}" in capsys.readouterr().out
    saved = checkpoint.read_checkpoint(tmp_path / "run" / "last.safetensors")[1]["settings"]
    assert (saved["n_layer"], saved["architecture"], saved["block_size"]) == (2, "gpt2", BLOCK)
    assert (saved["dropout"], saved["learning_rate"]) == (0.2, 2e-3)
    assert Settings.preset("gpu", init_from="x", out="y").n_layer is None
    assert read_flags(["--out", "y"]).n_layer == Settings(out="y").n_layer == 4


def test_a_folder_whose_name_the_terminal_cannot_show_is_a_source_as_any_other(sources, tuned, tmp_path):
    shutil.copytree(sources / "run", tmp_path / "界")
    settings = tuned("run", steps=1)
    command = ["--init-from", str(tmp_path / "界"), "--corpus", settings.corpus, "--out", settings.out]
    command += ["--steps", "1", "--batch-size", "4", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "nnhelpers.train", *command],
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"\\u754c" in done.stdout


# Stopping and going on


@each_source
def test_it_is_resumed_bit_for_bit_even_when_the_source_is_gone(kind, sources, texts, tmp_path, tuned):
    source = tmp_path / "source"
    shutil.copytree(sources / kind, source)
    whole, parts = (
        tuned(kind, out=out, init_from=str(source), dropout=0.1, block_size=8) for out in ("whole", "parts")
    )
    train(whole)

    def stop(record):
        if record["step"] == 7:
            os.kill(os.getpid(), signal.SIGINT)

    train(parts, after_step=stop)
    shutil.rmtree(source)
    assert main(["--resume", "--out", parts.out]) == 0
    a, b = (load_file(Path(each.out) / "last.safetensors") for each in (whole, parts))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    logs = [(Path(each.out) / "log.jsonl").read_bytes() for each in (whole, parts)]
    assert logs[0] == logs[1]
    assert len(train(replace(parts, resume=True)).losses) == 20


def test_a_run_begun_before_there_was_such_a_setting_goes_on(sources, tmp_path):
    shutil.copytree(sources / "run", tmp_path / "old")
    path = tmp_path / "old" / "last.safetensors"
    tensors, info = checkpoint.read_checkpoint(path)
    del info["settings"]["init_from"], info["n_ids"]
    checkpoint.write_checkpoint(path, tensors, info)
    assert main(["--resume", "--out", str(tmp_path / "old")]) == 0
    assert load_run(tmp_path / "old", "last")[0].block_size == BLOCK


# What it refuses


def refused(settings, message, capsys):
    """Exit 2 and one sentence; the run's folder holds no run."""
    given = {name: value for name, value in vars(settings).items() if value is not None}
    flags = [
        f"--{name.replace('_', '-')}={value}" for name, value in given.items() if type(value) is not bool
    ]
    capsys.readouterr()
    assert main(flags) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert not list(Path(settings.out).glob("tok*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_layer": 3}, "n_layer is 2, not 3: leave it out"),
        ({"n_layer": 4}, "n_layer is 2, not 4: leave it out"),
        ({"n_embd": 64}, "n_embd is 32, not 64: leave it out"),
        ({"architecture": "gpt2"}, "architecture is 'modern', not 'gpt2': leave it out"),
        ({"block_size": 13}, "block_size is at most 12, not 13"),
        ({"tokenizer": "gpt2"}, "tokenizer.json', not 'gpt2': leave it out"),
    ],
)
def test_settings_that_contradict_the_weights_are_refused(change, message, tuned, capsys):
    refused(tuned("run", **change), message, capsys)


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("kind", "harm", "message"),
    [
        ("run", shutil.rmtree, "there is no folder "),
        ("run", empty, "holds neither a run (best.safetensors) nor a model of Hugging Face (config.json)"),
        ("run", lambda folder: (folder / "tokenizer.json").unlink(), "there is no file "),
        (
            "llama",
            lambda folder: (folder / "tokenizer.json").unlink(),
            "holds no tokenizer.json, without which",
        ),
        ("gpt2", lambda folder: (folder / "model.safetensors").unlink(), "holds no model.safetensors"),
        (
            "run",
            lambda folder: (folder / "best.safetensors").write_bytes(b"half"),
            "not a safetensors file, or is cut short",
        ),
        (
            "gpt2",
            lambda folder: (folder / "config.json").write_text(json.dumps({"model_type": "bert"})),
            "a model_type of gpt2, llama, qwen3 can be read, got 'bert'",
        ),
    ],
)
def test_a_folder_that_nothing_can_begin_with_is_refused(
    kind, harm, message, sources, tuned, tmp_path, capsys
):
    shutil.copytree(sources / kind, tmp_path / "source")
    harm(tmp_path / "source")
    refused(tuned(kind, init_from=str(tmp_path / "source")), message, capsys)


@pytest.mark.parametrize("kind", ["run", "llama"])
def test_a_text_with_characters_that_the_tokenizer_does_not_know_is_refused(kind, tuned, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("Ünd € so 界. " * 200, encoding="utf-8")
    message = "3 of its 9 different characters that the tokenizer does not know ('Ü', '€', '界')"
    refused(tuned(kind, corpus=str(tmp_path / "text.txt")), message, capsys)


def test_a_run_is_not_begun_in_the_folder_of_its_weights(sources, tuned, capsys):
    before = {path.name: path.read_bytes() for path in (sources / "run").iterdir()}
    assert main(["--init-from", str(sources / "run"), "--out", str(sources / "run" / ".")]) == 2
    assert "write into the same folder: give out another one" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (sources / "run").iterdir()} == before


def test_beginning_and_going_on_exclude_each_other(sources, tuned, capsys):
    settings = tuned("run", steps=1)
    train(settings)
    capsys.readouterr()
    assert main(["--resume", "--init-from", settings.init_from, "--out", settings.out]) == 2
    assert "--init-from begins a new run and --resume goes on with one" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"began with init_from .*run', not .*llama'"):
        train(replace(settings, resume=True, init_from=str(sources / "llama")))
