"""The models that come with the package: the file is the one described, it is as good as stated, and it can be used."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shlex
import shutil
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from nnhelpers import data, evaluation, huggingface, sampling, train
from nnhelpers.batches import text_batches
from nnhelpers.files import write_tensors
from nnhelpers.gpt import GPT, GPTConfig
from nnhelpers.train import TRAINED, Settings, checkpoint, load_run, load_trained, save_half
from nnhelpers.train.__main__ import main as train_main
from nnhelpers.train.settings import read_flags

DATA = Path(__file__).resolve().parents[1] / "data"
README = (DATA / "README.md").read_text(encoding="utf-8")
PLAYS = data.load_shakespeare()
VALIDATION = PLAYS[int(0.9 * len(PLAYS)) :]
LARGEST = 12_000_000  # bytes
each_model = pytest.mark.parametrize("name", TRAINED)


def load_script() -> ModuleType:
    """data/ is not a package, so its script is imported by its path."""
    spec = importlib.util.spec_from_file_location("data_build_models", DATA / "build_models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()
ROWS = script.recorded_rows(README)


def folder_of(name: str) -> Path:
    return DATA / "models" / name


@pytest.fixture(autouse=True)
def no_bar(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")


# The files


def test_the_readme_describes_the_models_that_there_are():
    assert set(ROWS) == set(TRAINED) == {path.name for path in (DATA / "models").iterdir()}


@each_model
def test_the_file_has_the_recorded_checksum_and_is_small_enough(name):
    content = (folder_of(name) / "best.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() == ROWS[name].sha256
    assert len(content) <= LARGEST
    assert f"{len(content):,}" in README


@each_model
def test_the_numbers_are_stored_in_half_precision_and_loaded_in_single(name):
    stored = load_file(folder_of(name) / "best.safetensors")
    model, _ = load_trained(name)
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not model.training
    for parameter_name, p in model.named_parameters():
        assert torch.equal(p, stored[f"model.{parameter_name}"].float()), parameter_name


@each_model
def test_the_tokenizer_is_that_of_the_training_split_and_reads_every_play(name):
    model, tokenizer = load_trained(name)
    assert tokenizer.vocab_size == model.config.vocab_size
    assert tokenizer.decode(tokenizer.encode(PLAYS)) == PLAYS


def test_the_tokens_are_learned_again_from_the_training_split_byte_for_byte(tmp_path):
    from nnhelpers.bpe.__main__ import main as bpe_main

    script.write_train_split(tmp_path / "train.txt")
    assert (tmp_path / "train.txt").read_text(encoding="utf-8") + VALIDATION == PLAYS
    program = shlex.split(script.tokenizer_command(tmp_path))
    assert program[:3] == ["python", "-m", "nnhelpers.bpe"]
    assert bpe_main(program[3:]) == 0
    again = (tmp_path / "tokens.json").read_bytes()
    assert again == (folder_of("plays-tokens") / "tokenizer.json").read_bytes()


# How they were made


@each_model
def test_the_settings_in_the_file_are_those_of_the_command(name):
    """All that the numbers depend on; the machine is said by the file alone."""
    _, info = checkpoint.read_checkpoint(folder_of(name) / "best.safetensors")
    program = shlex.split(script.training_command(name, Path("build/models")))
    assert program[:3] == ["python", "-m", "nnhelpers.train"]
    asked = read_flags(program[3:])
    for setting, value in info["settings"].items():
        if setting not in ("device", "checkpoint_every"):
            assert getattr(asked, setting) == value, setting


@each_model
def test_the_readme_quotes_the_command(name):
    prose = " ".join(README.replace("\\\n", " ").split())
    assert script.training_command(name, Path("build/models")) in prose
    assert script.tokenizer_command(Path("build/models")) in prose


@each_model
def test_the_log_ends_at_the_model(name):
    lines = (folder_of(name) / "log.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    _, info = checkpoint.read_checkpoint(folder_of(name) / "best.safetensors")
    assert len(records) == info["settings"]["steps"] == info["best_step"]
    assert min(r["val_loss"] for r in records if "val_loss" in r) == info["best_loss"]
    assert info["settings"]["seed"] == 0


@each_model
def test_no_path_of_the_machine_is_left_in_the_file(name):
    with safe_open(folder_of(name) / "best.safetensors", "pt") as file:
        text = file.metadata()["info"]
    assert not re.findall(r'"/[^"]*"', text)


def test_the_script_trains_from_nothing_and_goes_on_where_it_was_stopped(tmp_path, capfd):
    """A small try: the flags after -- come last, so they count."""
    (tmp_path / "start.txt").write_text(PLAYS[:20_000], encoding="utf-8")
    small = f"--corpus {tmp_path}/start.txt --n-layer 1 --n-head 2 --n-embd 16 --block-size 8 --batch-size 4"
    flags = shlex.split(f"{small} --steps 3 --eval-every 3 --device cpu")
    out = tmp_path / "out"
    assert script.main(["--out", str(out), "--", *flags]) == 0
    assert script.main(["plays-chars", "--out", str(out)]) == 0
    assert capfd.readouterr().out.count("--resume") == 1
    for name in TRAINED:
        files = sorted(path.name for path in (out / name).iterdir())
        assert files == ["best.safetensors", "log.jsonl", "tokenizer.json"]
        half, tokenizer = load_run(out / name)
        whole, _ = load_run(out / "runs" / name)
        assert half.config.vocab_size == tokenizer.vocab_size
        for p, expected in zip(half.parameters(), whole.parameters(), strict=True):
            assert torch.equal(p, expected.half().float())


# How good they are


@each_model
def test_the_loss_on_the_first_windows_of_the_validation_split_is_the_recorded_one(name):
    """The whole split takes half a minute for a model: `python data/build_models.py --check` reads it."""
    row = ROWS[name]
    assert script.validation_loss(name, row.n_first) == pytest.approx(row.first_loss, abs=1e-4)


@each_model
def test_the_loss_recorded_for_the_whole_split_is_that_of_the_training(name):
    """Of bfloat16 on a GPU, per token, which differs a little from float32."""
    _, info = checkpoint.read_checkpoint(folder_of(name) / "best.safetensors")
    _, tokenizer = load_trained(name)
    ids = tokenizer.encode(PLAYS)
    held_out = ids[int(0.9 * len(ids)) :]
    per_character = info["best_loss"] * (len(held_out) - 1) / len(tokenizer.decode(held_out[1:]))
    assert ROWS[name].loss == pytest.approx(per_character, abs=2e-4)


@each_model
def test_both_reach_the_goal_of_their_training(name):
    assert ROWS[name].loss < 1.30


def test_a_longer_window_helps():
    """Where lecture 7's own small model sees no difference."""
    model, tokenizer = load_trained("plays-chars")
    ids = torch.tensor(tokenizer.encode(VALIDATION[: 4 * 512 + 1]))
    losses = [evaluation.total_nll(model, ids, block_size) for block_size in (16, 64, 512)]
    assert losses == sorted(losses, reverse=True)


# What they are used for


@each_model
def test_sampling_is_the_same_for_the_same_seed(name):
    model, tokenizer = load_trained(name)
    texts = [sampling.complete(model, tokenizer, "OTHELLO:\n", 40, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].startswith("OTHELLO:\n")


def test_the_command_samples_from_the_folder(capsys):
    assert (
        train_main(["sample", str(folder_of("plays-chars")), "--prompt", "OTHELLO:", "--tokens", "20"]) == 0
    )
    model, tokenizer = load_trained("plays-chars")
    assert capsys.readouterr().out == sampling.complete(model, tokenizer, "OTHELLO:", 20, seed=0) + "\n"


@each_model
def test_a_new_run_begins_with_the_model_and_learns_from_there(name, tmp_path):
    """On plays without capitals, which the model has not seen: so there is much to learn."""
    text = VALIDATION[:6_000].lower()
    (tmp_path / "lower.txt").write_text(text, encoding="utf-8")
    options = {"block_size": 32, "batch_size": 8, "learning_rate": 2e-3, "warmup_steps": 0}
    settings = Settings(
        out=str(tmp_path / "tuned"),
        init_from=str(folder_of(name)),
        corpus=str(tmp_path / "lower.txt"),
        steps=6,
        eval_every=3,
        sample=0,
        device="cpu",
        **options,
    )
    log = train.train(settings)

    model, tokenizer = load_trained(name)
    ids = torch.tensor(tokenizer.encode(text)).numpy()
    x, y = next(text_batches(ids[: int(0.9 * len(ids))], 32, 8, 0))
    assert log.losses[0] == pytest.approx(evaluation.nll(model, x, y), abs=1e-4)
    assert log.val_losses == sorted(log.val_losses, reverse=True)
    assert log.losses[-1] < log.losses[0] - 0.3


@each_model
def test_transformers_computes_the_same_logits_from_the_export(name, tmp_path):
    model, tokenizer = load_trained(name)
    huggingface.save(model, tmp_path / "export", tokenizer)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "export", dtype=torch.float32).eval()
    assert type(theirs).__name__ == "Qwen3ForCausalLM"
    text = VALIDATION[: 2 * model.block_size]
    ids = torch.tensor([tokenizer.encode(text)[: model.block_size]])
    with torch.no_grad():
        assert (model(ids) - theirs(ids).logits).abs().max().item() < 1e-4
    assert AutoTokenizer.from_pretrained(tmp_path / "export")(text)["input_ids"] == tokenizer.encode(text)


# What is refused


def test_a_model_that_there_is_not_is_named():
    with pytest.raises(ValueError, match=r"one of plays-chars, plays-tokens, got 'gpt2'"):
        load_trained("gpt2")


def test_a_folder_of_corpora_of_ones_own_without_the_models_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("NNHELPERS_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"there is no file .*plays-chars"):
        load_trained("plays-chars")


def test_a_run_cannot_go_on_from_half_precision(tmp_path, capsys):
    shutil.copytree(folder_of("plays-chars"), tmp_path / "run")
    assert train_main(["--resume", "--out", str(tmp_path / "run")]) == 2
    assert "there is no file" in capsys.readouterr().err


def test_half_precision_is_not_written_over_the_run_itself(tmp_path):
    shutil.copytree(folder_of("plays-chars"), tmp_path / "run")
    before = (tmp_path / "run" / "best.safetensors").read_bytes()
    with pytest.raises(ValueError, match="holds the run itself"):
        save_half(tmp_path / "run", tmp_path / "run")
    assert (tmp_path / "run" / "best.safetensors").read_bytes() == before


def test_a_number_that_half_precision_cannot_hold_is_refused(tmp_path):
    model = GPT(GPTConfig.modern(5, 4, n_layer=1, n_head=1, n_embd=8))
    with torch.no_grad():
        model.norm.weight[0] = 1e5
    checkpoint.write_checkpoint(tmp_path / "best.safetensors", checkpoint.gather(model), {"model": {}})
    with pytest.raises(ValueError, match=r"cannot hold model\.norm\.weight"):
        save_half(tmp_path, tmp_path / "half")
    assert not (tmp_path / "half").exists()


def test_a_file_that_was_changed_is_refused(tmp_path):
    shutil.copytree(folder_of("plays-chars"), tmp_path / "run")
    path = tmp_path / "run" / "best.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors["model.norm.weight"][0] += 1
    write_tensors(path, tensors, metadata)
    with pytest.raises(ValueError, match="is damaged"):
        load_run(tmp_path / "run")
