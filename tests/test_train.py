"""The command line of training: what it learns, what it keeps, how it goes on, and what it refuses."""

from __future__ import annotations

import dataclasses
import gc
import json
import math
import os
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from nnhelpers import data
from nnhelpers.batches import text_windows
from nnhelpers.bpe import BPETokenizer
from nnhelpers.evaluation import bits_per_byte, nll
from nnhelpers.gpt import GPT
from nnhelpers.sampling import complete
from nnhelpers.train import Settings, checkpoint, load_run, train
from nnhelpers.train.__main__ import main
from nnhelpers.train.processes import Processes
from nnhelpers.train.settings import MAY_CHANGE, read_flags

TEXT = data.load_shakespeare()[:20_000]
TINY = {
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 16,
    "block_size": 8,
    "batch_size": 8,
    "steps": 20,
    "warmup_steps": 3,
    "learning_rate": 0.005,
    "eval_every": 8,
    "checkpoint_every": 6,
    "device": "cpu",
    "sample": 5,
}


@pytest.fixture(autouse=True)
def no_bar(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


@pytest.fixture
def tiny(corpus, tmp_path):
    """Settings of a small run; its folder is "run" unless another one is named."""

    def make(out="run", **changes):
        return Settings(**{**TINY, "corpus": corpus, "out": str(tmp_path / out), **changes})

    return make


def flags(settings):
    """The command line that gives these settings."""
    given = []
    for name, value in dataclasses.asdict(settings).items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            given.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            given += [f"--{flag}", str(value)]
    return given


def signal_at(step, *numbers):
    """An `after_step` that sends signals in the step before, so that this one is the last."""

    def send(record):
        if record["step"] == step - 1:
            for number in numbers:
                os.kill(os.getpid(), number)

    return send


@pytest.fixture
def main_with(monkeypatch):
    """The command, whose run calls `after_step`."""

    def command(arguments, after_step):
        with monkeypatch.context() as patch:
            patch.setattr("nnhelpers.train.__main__.train", partial(train, after_step=after_step))
            return main(arguments)

    return command


def same_end(one, other):
    """Equal to the last bit: parameters, optimizers, log."""
    a, b = (load_file(Path(folder) / "last.safetensors") for folder in (one.out, other.out))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    for name in ("log.jsonl", "tokens.bin", "tokenizer.json"):
        assert (Path(one.out) / name).read_bytes() == (Path(other.out) / name).read_bytes()


# What it learns


def test_a_small_run_learns_and_its_best_checkpoint_has_the_loss_it_says(tiny, capsys):
    settings = tiny(steps=200, learning_rate=0.01, eval_every=40, n_embd=32, prompt="ROMEO:")
    assert main(flags(settings)) == 0
    out = capsys.readouterr().out
    model, tokenizer = load_run(settings.out)
    ids = tokenizer.encode(TEXT)
    val = nll(model, *text_windows(torch.tensor(ids[int(0.9 * len(ids)) :]), 8))
    log = [json.loads(line) for line in (Path(settings.out) / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log] == list(range(1, 201))
    assert abs(log[0]["loss"] - math.log(tokenizer.vocab_size)) < 0.1
    assert min(record["val_loss"] for record in log if "val_loss" in record) == pytest.approx(val, abs=1e-9)
    assert val < 0.7 * math.log(tokenizer.vocab_size)
    assert f"best: {val:.4f} nats a token" in out
    bits = bits_per_byte(model, tokenizer, TEXT[int(0.9 * len(TEXT)) :])
    assert f"val {val:.4f} ({bits:.3f} bits per byte)" in out
    assert "\nROMEO:" in out
    assert out.count("tokens/s") == 5
    assert not model.training


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [("gpt2", {"qk_norm": True}), ("modern", {"dtype": "bfloat16", "grad_clip": 0.0})],
)
def test_byte_pairs_and_both_forms(architecture, changes, tiny, tmp_path):
    BPETokenizer.train(TEXT, 300).save(tmp_path / "tok.json")
    settings = tiny(tokenizer=str(tmp_path / "tok.json"), architecture=architecture, steps=3, **changes)
    result = train(settings)
    model, tokenizer = load_run(settings.out, "last")
    assert tokenizer.vocab_size == model.config.vocab_size == 300
    assert (model.config.norm, model.config.qk_norm) == (
        ("layer", True) if architecture == "gpt2" else ("rms", False)
    )
    assert result.losses[0] == pytest.approx(math.log(300), abs=0.1)
    assert result.best_step == 3


def test_the_log_that_run_returns_is_that_of_the_file(tiny):
    settings, records = tiny(), []
    result = train(settings, after_step=records.append)
    log = [json.loads(line) for line in (Path(settings.out) / "log.jsonl").read_text().splitlines()]
    assert records == log
    assert result.losses == [record["loss"] for record in log]
    assert result.lrs == [record["lr"] for record in log]
    assert max(result.lrs) == 0.005
    assert result.lrs[-1] == pytest.approx(0.0005)
    assert result.val_steps == [8, 16, 20]
    assert result.val_losses == [record["val_loss"] for record in log if "val_loss" in record]
    assert (result.best_loss, result.signal) == (min(result.val_losses), 0)
    assert len(result.sample) == 6  # the first token and 5 more


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_batch_in_parts_is_the_batch(optimizer, tiny):
    options = {"optimizer": optimizer, "learning_rate": 0.001, "sample": 0}
    whole = train(tiny("whole", **options))
    parts = train(tiny("parts", gradient_accumulation_steps=4, **options))
    assert whole.losses == pytest.approx(parts.losses, abs=1e-5)
    assert whole.val_losses == pytest.approx(parts.val_losses, abs=1e-5)


def test_the_seed_decides_and_the_rest_of_the_program_does_not(tiny):
    first = train(tiny("a", dropout=0.2)).losses
    torch.manual_seed(5)
    assert train(tiny("b", dropout=0.2)).losses == first
    assert train(tiny("c", dropout=0.2, seed=1)).losses != first


def test_a_model_that_does_not_compile_runs_without(tiny, monkeypatch, capsys):
    def fail(model):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", lambda model: fail)
    compiled = train(tiny("a", compile=True))
    assert "torch.compile fails here (RuntimeError), so the model runs without it" in capsys.readouterr().out
    assert compiled.losses == train(tiny("b")).losses


# Stopping and going on


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_goes_on_bit_for_bit(optimizer, number, code, tiny, main_with, capsys):
    options = {"optimizer": optimizer, "dropout": 0.1}
    whole, parts = tiny("whole", **options), tiny("parts", **options)
    train(whole)
    before = signal.getsignal(number)
    for step in (9, 16):  # 16 is evaluated, too
        arguments = flags(dataclasses.replace(parts, resume=step == 16))
        assert main_with(arguments, signal_at(step, number)) == code
        assert (
            f"stopped after step {step}; python -m nnhelpers.train --resume --out" in capsys.readouterr().out
        )
        assert checkpoint.read_checkpoint(Path(parts.out) / "last.safetensors")[1]["step"] == step
    assert signal.getsignal(number) is before
    assert main(["--resume", "--out", parts.out]) == 0
    assert "going on after step 16" in capsys.readouterr().out
    same_end(whole, parts)


def test_a_second_ctrl_c_stops_at_once_and_the_run_goes_on_from_its_last_checkpoint(tiny, main_with):
    assert main_with(flags(tiny("parts")), signal_at(9, signal.SIGINT, signal.SIGINT)) == 130
    assert main(["--resume", "--out", tiny("parts").out]) == 0
    train(tiny("whole"))
    same_end(tiny("whole"), tiny("parts"))


def test_a_finished_run_is_only_reported_again(tiny):
    settings = tiny()
    first = train(settings)
    again = train(dataclasses.replace(settings, resume=True))
    assert (again.losses, again.best_loss, again.sample) == (first.losses, first.best_loss, first.sample)


def test_a_loss_that_is_not_finite_stops_with_a_sentence_and_loses_no_checkpoint(tiny, capsys):
    settings = tiny(learning_rate=1e30, grad_clip=0.0, warmup_steps=0)
    assert main(flags(settings)) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the loss of step ")
    assert said.count("\n") == 1
    assert "lower the learning rate" in said
    model, _ = load_run(settings.out, "last")
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_weights_that_are_not_finite_are_never_saved_and_a_lower_rate_goes_on_from_the_step_before(
    tiny, capsys
):
    def poison(record):
        if record["step"] == 12:  # the step of a checkpoint
            with torch.no_grad():
                for model in models_alive():
                    next(model.parameters())[0] = math.nan

    settings = tiny()
    with pytest.raises(FloatingPointError, match=r"not finite after step 12 .* a lower --learning-rate"):
        train(settings, after_step=poison)
    assert checkpoint.read_checkpoint(Path(settings.out) / "last.safetensors")[1]["step"] == 6
    capsys.readouterr()
    assert main(["--resume", "--out", settings.out, "--learning-rate", "0.001", "--grad-clip", "0.5"]) == 0
    said = capsys.readouterr().out
    assert "learning_rate 0.005 until now, 0.001 from here on" in said
    assert "grad_clip 1.0 until now, 0.5 from here on" in said
    log = [json.loads(line) for line in (Path(settings.out) / "log.jsonl").read_text().splitlines()]
    assert max(record["lr"] for record in log[:6]) == 0.005
    assert max(record["lr"] for record in log[6:]) <= 0.001


def models_alive():
    return [each for each in gc.get_objects() if type(each) is GPT]


def test_ctrl_c_before_anything_is_saved_says_so(tiny, capsys, monkeypatch):
    def interrupted(settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("nnhelpers.train.__main__.train", interrupted)
    assert main(flags(tiny())) == 130
    assert "nothing was saved yet: start again" in capsys.readouterr().err


def test_the_advice_after_ctrl_c_works_for_a_folder_with_a_space(tiny, main_with, capsys):
    settings = tiny("my run")
    assert main_with(flags(settings), signal_at(9, signal.SIGINT)) == 130
    advice = capsys.readouterr().out.splitlines()[-1]
    command = advice.split("; ")[1].removesuffix(" goes on")
    assert main(shlex.split(command)[3:]) == 0


# What it refuses


def refused(settings, message, capsys):
    """Exit 2, one sentence, and nothing changed in a folder that holds a run."""
    folder = Path(settings.out)
    before = {path: path.read_bytes() for path in folder.glob("*")}
    capsys.readouterr()
    assert main(flags(settings)) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    after = {path: path.read_bytes() for path in folder.glob("*")}
    assert after == before if before else not list(folder.glob("*.safetensors"))


@pytest.fixture
def stopped(tiny):
    """The settings of a run that stopped after step 5, to be resumed."""
    settings = tiny(sample=0)
    assert train(settings, signal_at(5, signal.SIGINT)).signal == signal.SIGINT
    return dataclasses.replace(settings, resume=True)


def test_a_run_in_the_folder_is_not_overwritten(stopped, capsys):
    refused(dataclasses.replace(stopped, resume=False), "add --resume, or take another folder", capsys)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 40}, "the run began with steps 20, not 40"),
        ({"learning_rate": 0.1, "seed": 3}, "seed 0, not 3, learning_rate 0.005, not 0.1"),
        ({"grad_clip": 0.0}, "grad_clip 1.0, not 0.0"),
        ({"optimizer": "adamw"}, "optimizer 'muon', not 'adamw'"),
        ({"batch_size": 16}, "batch_size 8, not 16"),
        ({"gradient_accumulation_steps": 2}, "gradient_accumulation_steps 1, not 2"),
        ({"n_embd": 32}, "n_embd 16, not 32"),
        ({"tokenizer": "gpt2"}, "tokenizer 'char', not 'gpt2'"),
        ({"corpus": "shakespeare"}, "began with corpus '"),
    ],
)
def test_a_run_goes_on_only_with_its_settings(change, message, stopped, capsys):
    refused(dataclasses.replace(stopped, **change), message, capsys)


def test_what_does_not_alter_the_numbers_may_change(stopped, tiny, tmp_path, capsys):
    moved = tmp_path / "moved.txt"
    moved.write_text(TEXT, encoding="utf-8")
    changed = {"corpus": str(moved), "checkpoint_every": 3, "sample": 2, "prompt": "A"}
    assert train(dataclasses.replace(stopped, **changed)).sample.startswith("A")
    whole = tiny("whole")
    train(whole)
    same_end(whole, stopped)


def in_the_names_of_version_1(folder):
    """Rewrite the checkpoint and the log of a run as the first version wrote them."""
    path = Path(folder) / "last.safetensors"
    tensors, info = checkpoint.read_checkpoint(path)
    former = {
        part: {new: old for old, new in names.items()} for part, names in checkpoint.FORMER_NAMES.items()
    }
    for part in ("settings", "model"):
        info[part] = {former[part].get(name, name): value for name, value in info[part].items()}
    info = {former[""].get(name, name): value for name, value in info.items()}
    log = Path(folder) / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"lr"', b'"rate"'))
    info["log_bytes"] = len(log.read_bytes())
    checkpoint.write_checkpoint(path, tensors, info)
    with safe_open(path, "pt") as file:
        metadata = {**file.metadata(), "format": checkpoint.FIRST_FORMAT}
    save_file(load_file(path), path, metadata)


def test_a_run_that_the_first_version_began_goes_on_bit_for_bit(stopped, tiny):
    in_the_names_of_version_1(stopped.out)
    model, _ = load_run(stopped.out, "last")
    assert model.config.n_embd == 16
    log = train(stopped)
    whole = train(tiny("whole", sample=0))
    assert log.losses == whole.losses
    assert log.lrs == whole.lrs
    ends = [load_file(Path(out) / "last.safetensors") for out in (stopped.out, tiny("whole").out)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[1])


def test_a_flag_that_contradicts_the_run_is_refused_and_others_may_be_left_out(stopped, capsys):
    assert main(["--resume", "--out", stopped.out, "--steps", "21"]) == 2
    assert "steps 20, not 21" in capsys.readouterr().err
    assert main(["--resume", "--out", stopped.out, "--preset", "gpu"]) == 2
    assert "n_layer 2, not 6" in capsys.readouterr().err
    assert main(["--resume", "--out", stopped.out]) == 0


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "cut short"),
        (lambda path: path.write_bytes(b""), "cut short"),
        (lambda path: torch.save({"a": 1}, path), "Pickled checkpoints"),
        (lambda path: path.unlink(), "there is no file"),
        (
            lambda path: checkpoint.write_checkpoint(path, {}, {"step": 1}),
            "another kind: it does not tell its settings",
        ),
        (lambda path: path.write_bytes((path.parent / "other").read_bytes()), "n_embd 8, not 16"),
    ],
)
def test_a_checkpoint_that_is_not_this_runs_is_refused(harm, message, stopped, tiny, capsys):
    other = dataclasses.replace(stopped, out=stopped.out + "2", resume=False, n_embd=8, steps=1)
    train(other)
    path = Path(stopped.out) / "last.safetensors"
    (path.parent / "other").write_bytes((Path(other.out) / "last.safetensors").read_bytes())
    harm(path)
    refused(stopped, message, capsys)


def test_tokens_that_are_lost_cut_or_stale_are_made_again(stopped, tiny):
    folder = Path(stopped.out)
    good = (folder / "tokens.bin").read_bytes()
    (folder / "tokens.bin").write_bytes(good[:-2])
    (folder / ".last.safetensors.x.tmp").write_bytes(b"half")
    train(stopped)
    assert (folder / "tokens.bin").read_bytes() == good
    assert not list(folder.glob(".*"))


def test_a_checkpoint_of_a_version_with_other_settings_is_refused(stopped, capsys):
    path = Path(stopped.out) / "last.safetensors"
    tensors, info = checkpoint.read_checkpoint(path)
    checkpoint.write_checkpoint(path, tensors, {**info, "settings": {**info["settings"], "legs": 4}})
    assert main(["--resume", "--out", stopped.out]) == 2
    assert "has other settings than this version" in capsys.readouterr().err


def test_loading_refuses_what_does_not_belong_together(stopped):
    folder = Path(stopped.out)
    with pytest.raises(FileNotFoundError, match=r"no file .*best\.safetensors"):
        load_run(folder)
    tensors, info = checkpoint.read_checkpoint(folder / "last.safetensors")
    (folder / "tokenizer.json").write_text('{"format": "nnhelpers.characters 1", "characters": "abc"}')
    with pytest.raises(ValueError, match=r"has 3 ids, the model \d+: they do not belong together"):
        load_run(folder, "last")
    for model, message in (
        ({"n_legs": 4}, "does not describe a GPT"),
        ({**info["model"], "n_head": 3}, "n_head=3"),
    ):
        checkpoint.write_checkpoint(folder / "best.safetensors", tensors, {**info, "model": model})
        with pytest.raises(ValueError, match=message):
            load_run(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be int of at least 1, got 0"),
        ({"learning_rate": math.nan}, "learning_rate must be float of at least 1e-12, got nan"),
        ({"learning_rate": math.inf}, "got inf"),
        ({"architecture": "llama"}, "architecture must be one of gpt2, modern, got 'llama'"),
        ({"steps": 1.5}, "steps must be int"),
        ({"steps": True}, "steps must be int"),
        ({"fsdp": 1}, "fsdp must be bool"),
        ({"compile": "no"}, "compile must be bool"),
        ({"beta2": 1.0}, "beta2 must be below 1"),
        ({"min_lr_ratio": 2.0}, "min_lr_ratio at most 1"),
        ({"seed": 2**31}, "seed below"),
        ({"fsdp": True}, "Muon needs whole matrices"),
    ],
)
def test_settings_that_do_not_fit_get_a_sentence(change, message, tiny):
    with pytest.raises(ValueError, match=message):
        tiny(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus": "nowhere.txt"}, "there is no file 'nowhere.txt'"),
        ({"tokenizer": "nowhere.json"}, "nowhere.json"),
        ({"dropout": 1.0}, "dropout is a share"),
        ({"n_head": 3}, "18 can"),
        ({"prompt": "€"}, "'€' in '€' is not in the vocabulary"),
        ({"gradient_accumulation_steps": 3}, "batch_size=8 cannot be divided into 3 parts"),
        ({"optimizer": "adamw", "fsdp": True}, "start them with torchrun"),
        ({"block_size": 20_000}, "a text of 20000 tokens is too short for block_size=20000"),
    ],
)
def test_bad_input_gets_a_sentence_and_code_2(change, message, tiny, capsys):
    refused(tiny(**change), message, capsys)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_gets_a_sentence(tiny, capsys):
    refused(tiny(device="cuda"), "there is no GPU that torch can use", capsys)


def test_unknown_flags_and_a_folder_without_a_run_get_code_2(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--legs", "4"])
    assert stop.value.code == 2
    assert main(["--resume", "--out", "nowhere"]) == 2


# The settings


def test_a_run_without_a_folder_goes_to_one_named_after_its_text():
    assert read_flags([]).out == str(Path("runs/plays"))
    assert read_flags(["--corpus", "texts/my_text.txt"]).out == str(Path("runs/my_text"))
    assert read_flags(["--corpus", "a.txt", "--out", "b"]).out == "b"
    with pytest.raises(ValueError, match="out, the folder of the run, is missing"):
        Settings()


def test_help_names_every_setting_with_its_defaults(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for each in dataclasses.fields(Settings):
        assert f"--{each.name.replace('_', '-')}" in said
        assert each.metadata["help"] in said
    assert "number of transformer blocks (cpu: 4, gpu: 6, gpt2: 12)" in said
    assert "--preset" in said


def test_every_preset_is_a_run():
    sizes = {"cpu": (0.5e6, 2e6), "gpu": (10e6, 11e6), "gpt2": (124e6, 125e6)}
    for name, (low, high) in sizes.items():
        settings = Settings.preset(name, out="x")
        vocab_size = 50257 if settings.tokenizer == "gpt2" else 66
        assert low < settings.model_config(vocab_size).n_parameters() < high
    assert Settings.preset("cpu", out="x") == Settings(out="x")
    assert Settings.preset("gpt2", out="x", steps=3).steps == 3
    with pytest.raises(ValueError, match="one of cpu, gpu, gpt2, got 'tpu'"):
        Settings.preset("tpu", out="x")


def test_what_may_change_are_settings():
    assert set(MAY_CHANGE) <= {each.name for each in dataclasses.fields(Settings)}


def test_the_share_of_the_peak_is_shown_where_the_peak_is_known(tiny, monkeypatch, capsys):
    monkeypatch.setattr(Processes, "peak_flops", lambda self: 1e9)
    train(tiny("a", dtype="bfloat16", sample=0))
    assert "% of the peak" in capsys.readouterr().out
    monkeypatch.undo()
    train(tiny("b", sample=0))
    assert "peak" not in capsys.readouterr().out
    assert isinstance(load_run(tiny("b").out)[0], GPT)


# Samples


def test_the_sample_command_prints_what_complete_gives(tiny, capsys):
    train(tiny(sample=0))
    capsys.readouterr()
    options = ["--prompt", "The", "--tokens", "9", "--temperature", "0.8", "--top-k", "5", "--seed", "3"]
    assert main(["sample", tiny().out, *options]) == 0
    model, tokenizer = load_run(tiny().out)
    assert capsys.readouterr().out == (
        complete(model, tokenizer, "The", 9, temperature=0.8, top_k=5, seed=3) + "\n"
    )


def test_several_samples_are_those_of_one_seed_after_another(tiny, capsys):
    train(tiny(sample=0))
    capsys.readouterr()
    assert (
        main(["sample", tiny().out, "--prompt", "The", "--tokens", "9", "--seed", "3", "--number", "2"]) == 0
    )
    model, tokenizer = load_run(tiny().out)
    samples = [complete(model, tokenizer, "The", 9, seed=seed) for seed in (3, 4)]
    assert samples[0] != samples[1]
    assert capsys.readouterr().out == f"{samples[0]}\n---------------\n{samples[1]}\n"


def test_a_sample_is_printed_while_it_is_made(tiny):
    """The prompt and the first letters are there long before the last token of so many."""
    train(tiny(sample=0))
    command = [sys.executable, "-m", "nnhelpers.train", "sample", tiny().out, "--prompt", "The"]
    # a shell's background jobs ignore Ctrl-C, and what they start does, too: heard again here
    hears_ctrl_c = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        [*command, "--tokens", "1000000"], stdout=subprocess.PIPE, preexec_fn=hears_ctrl_c
    ) as process:
        assert process.stdout.read(20).startswith(b"The")
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.returncode == 130


def test_a_reader_that_has_seen_enough_is_no_error(tiny):
    train(tiny(sample=0))
    command = [sys.executable, "-m", "nnhelpers.train", "sample", tiny().out, "--tokens", "1000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(5)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{run}", "--number", "0"], "number must be at least 1 and tokens at least 0, got 0 and 300"),
        (["nowhere"], "there is no file"),
        (["{run}", "--prompt", "€"], "'€' in '€' is not in the vocabulary"),
        (["{run}", "--temperature", "-1"], "the temperature must be 0 or more"),
        (["{run}", "--prompt", ""], "the prompt is empty"),
    ],
)
def test_a_sample_that_cannot_be_made_gets_a_sentence(arguments, message, tiny, capsys):
    train(tiny(steps=1, sample=0))
    capsys.readouterr()
    assert main(["sample", *[each.format(run=tiny().out) for each in arguments]]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said


def test_a_run_whose_reader_has_seen_enough_goes_on_to_its_end(tiny):
    process = subprocess.Popen(
        [sys.executable, "-m", "nnhelpers.train", *flags(tiny(eval_every=1))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    assert process.communicate()[1] == b""
    assert process.returncode == 0
    assert checkpoint.read_checkpoint(Path(tiny().out) / "last.safetensors")[1]["step"] == 20


def test_what_a_terminal_cannot_show_is_written_as_an_escape_and_the_run_ends_well(tmp_path):
    """A finished run must not end in a traceback because of where its sample is printed."""
    text = tmp_path / "text.txt"
    text.write_text("Ж界é " * 2000, encoding="utf-8")
    flags = (
        "--n-layer 1 --n-head 1 --n-embd 4 --block-size 4 --batch-size 2 --steps 2 --device cpu --sample 30"
    )
    command = [sys.executable, "-m", "nnhelpers.train", *flags.split(), "--corpus", str(text)]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "TQDM_DISABLE": "1"}
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "run")],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"\\u754c" in done.stdout or b"\\u0416" in done.stdout
    assert b"best: " in done.stdout
