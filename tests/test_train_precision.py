"""Which device and which numbers a run takes, and training in float16 with a scale. All of it without a GPU."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nnhelpers import data
from nnhelpers.gpt import GPT, GPTConfig
from nnhelpers.optim import make_optimizers
from nnhelpers.train import Settings, checkpoint, run, train
from nnhelpers.train.__main__ import main
from nnhelpers.train.precision import autocast, choose_device, choose_dtype, make_scaler, update
from nnhelpers.train.run import check_settings, resume_message

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


@pytest.fixture(autouse=True)
def no_bar(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")


@pytest.fixture
def tiny(tmp_path):
    (tmp_path / "text.txt").write_text(data.load_shakespeare()[:20_000], encoding="utf-8")

    def make(out="run", **changes):
        shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 8, "batch_size": 8, "device": "cpu"}
        steps = {"steps": 20, "warmup_steps": 3, "eval_every": 8, "checkpoint_every": 6, "sample": 0}
        paths = {"corpus": str(tmp_path / "text.txt"), "out": str(tmp_path / out)}
        return Settings(**{**shape, **steps, **paths, **changes})

    return make


# What is chosen


@pytest.mark.parametrize(
    ("name", "has_cuda", "has_mps", "world_size", "expected"),
    [
        ("auto", True, False, 1, "cuda:1"),
        ("auto", True, True, 1, "cuda:1"),
        ("auto", False, True, 1, "mps"),
        ("auto", False, True, 2, "cpu"),
        ("auto", False, False, 1, "cpu"),
        ("cpu", True, True, 1, "cpu"),
        ("mps", True, True, 1, "mps"),
        ("cuda", True, True, 2, "cuda:1"),
    ],
)
def test_the_device(name, has_cuda, has_mps, world_size, expected):
    found = choose_device(name, has_cuda=has_cuda, has_mps=has_mps, world_size=world_size, local_rank=1)
    assert found == torch.device(expected)


@pytest.mark.parametrize(
    ("name", "world_size", "message"),
    [
        ("cuda", 1, "there is no GPU that torch can use"),
        ("mps", 1, r"there is no Apple GPU \(mps\) that torch can use; use --device cpu"),
    ],
)
def test_a_device_that_is_not_there_is_refused(name, world_size, message):
    with pytest.raises(ValueError, match=message):
        choose_device(name, has_cuda=False, has_mps=False, world_size=world_size)


def test_apples_gpu_serves_one_process_and_does_not_compile(tiny):
    with pytest.raises(ValueError, match="serves one process"):
        choose_device("mps", has_cuda=False, has_mps=True, world_size=2)
    with pytest.raises(ValueError, match="compile is not for an Apple GPU"):
        check_settings(tiny(compile=True), 1, MPS)
    check_settings(tiny(), 1, MPS)


@pytest.mark.parametrize(
    ("name", "device", "has_bfloat16", "fsdp", "expected"),
    [
        ("auto", CUDA, True, False, torch.bfloat16),
        ("auto", CUDA, False, False, torch.float16),
        ("auto", CUDA, False, True, torch.float32),
        ("auto", CPU, False, False, torch.float32),
        ("auto", MPS, False, False, torch.float32),
        ("float16", CUDA, True, False, torch.float16),
        ("bfloat16", CPU, False, False, torch.bfloat16),
        ("float32", CUDA, True, True, torch.float32),
    ],
)
def test_the_type_of_the_forward_pass(name, device, has_bfloat16, fsdp, expected):
    assert choose_dtype(name, device, has_bfloat16=has_bfloat16, fsdp=fsdp) == expected


def test_float16_is_refused_where_it_cannot_be_used(tiny, capsys):
    assert main(["--dtype", "float16", "--device", "cpu", "--out", tiny().out]) == 2
    said = capsys.readouterr().err
    assert said == "error: float16 is for a CUDA GPU, and this run is on cpu; use --dtype float32\n"
    assert not Path(tiny().out).exists()
    with pytest.raises(ValueError, match="and this run is on mps"):
        choose_dtype("float16", MPS)
    with pytest.raises(ValueError, match="float16 cannot be used with fsdp"):
        choose_dtype("float16", CUDA, fsdp=True)


def test_the_run_says_where_and_in_what_it_computes(tiny, capsys):
    train(tiny(steps=1))
    assert "on cpu in float32\n" in capsys.readouterr().out


def test_a_resumed_run_says_what_changed_beneath_it():
    before = {"device": "cuda", "dtype": "bfloat16"}
    assert "before on" not in resume_message(5, before, before)
    assert "before on" in resume_message(5, {**before, "dtype": "float16"}, before)
    # a run that began before its type was noted
    assert "before on" not in resume_message(5, before, {"device": "cuda"})


# The update


def gradients_of(optimizer_name, scale):
    """A small model with gradients that are `scale` times too large, its optimizers, and its parameters before."""
    model = GPT(GPTConfig.modern(11, 6, n_layer=1, n_head=2, n_embd=8), torch.Generator().manual_seed(0))
    optimizers = make_optimizers(model, optimizer_name, 0.01, 0.1)
    (scale * model(torch.arange(6)[None]).square().mean()).backward()
    return model, optimizers, [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("optimizer_name", ["adamw", "muon"])
def test_a_step_with_a_scale_is_the_step_without(optimizer_name):
    plain, optimizers, _ = gradients_of(optimizer_name, 1.0)
    assert update(plain, optimizers, make_scaler(CPU, torch.float32), 0.5)
    scaler = make_scaler(CPU, torch.float16)
    scaled, its_optimizers, before = gradients_of(optimizer_name, scaler.scale(torch.ones(())).item())
    assert update(scaled, its_optimizers, scaler, 0.5)
    for p, q, old in zip(plain.parameters(), scaled.parameters(), before, strict=True):
        assert torch.equal(p, q)
        assert not torch.equal(p, old)


@pytest.mark.parametrize("grad_clip", [0.0, 0.5])
def test_one_gradient_that_overflowed_leaves_out_the_step_of_every_optimizer(grad_clip):
    scaler = make_scaler(CPU, torch.float16)
    model, optimizers, before = gradients_of("muon", scaler.scale(torch.ones(())).item())
    model.norm.weight.grad[0] = torch.inf
    assert not update(model, optimizers, scaler, grad_clip)
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
    assert scaler.get_scale() == 2.0**15


def test_float32_is_not_touched_and_float16_is_what_is_computed_in():
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        with autocast(CPU, dtype):
            assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


# A run in float16, as a GPU without bfloat16 makes it, on the CPU


@pytest.fixture
def in_float16(monkeypatch):
    """A scale that begins far too high and grows soon, so that a short run leaves updates out and grows it, too."""

    def scaler(device, dtype):
        return torch.amp.GradScaler(device.type, init_scale=2.0**40, growth_interval=4)

    monkeypatch.setattr(run, "choose_dtype", lambda *args, **options: torch.float16)
    monkeypatch.setattr(run, "make_scaler", scaler)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("step", [2, 33, 45])
def test_a_run_in_float16_goes_on_bit_for_bit(optimizer, step, in_float16, tiny):
    """Stopped while no update has been taken yet, and later."""

    def stop(record):
        if record["step"] == step - 1:
            os.kill(os.getpid(), signal.SIGINT)

    options = {"optimizer": optimizer, "dropout": 0.1, "learning_rate": 0.003, "steps": 60}
    whole, parts = tiny("whole", **options), tiny("parts", **options)
    train(whole)
    assert train(parts, after_step=stop).signal == signal.SIGINT
    train(replace(parts, resume=True))
    ends = [checkpoint.read_checkpoint(Path(each.out) / "last.safetensors") for each in (whole, parts)]
    assert ends[0][0].keys() == ends[1][0].keys()
    assert all(torch.equal(ends[0][0][name], ends[1][0][name]) for name in ends[0][0])
    for name in ("scaler", "skipped"):
        assert ends[0][1][name] == ends[1][1][name]
    assert 5 < ends[0][1]["skipped"] < 40
    assert (Path(whole.out) / "log.jsonl").read_bytes() == (Path(parts.out) / "log.jsonl").read_bytes()


def test_a_run_in_float16_learns_as_one_in_float32_and_says_what_it_left_out(in_float16, tiny, capsys):
    options = {"learning_rate": 0.01, "steps": 150, "eval_every": 50}
    half = train(tiny("half", **options))
    said = capsys.readouterr().out
    skipped = checkpoint.read_checkpoint(Path(tiny("half").out) / "last.safetensors")[1]["skipped"]
    assert "on cpu in float16 with a gradient scale" in said
    assert f"  {skipped} updates left out" in said
    assert half.val_losses[-1] < half.losses[0] - 0.7
    assert load_file(Path(tiny("half").out) / "best.safetensors")["model.norm.weight"].dtype == torch.float32


def test_float32_saves_no_scale_and_a_run_that_had_none_takes_one(tiny, in_float16, monkeypatch):
    """As when a run goes on on another GPU."""

    def stop(record):
        if record["step"] == 9:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(run, "choose_dtype", choose_dtype)
        patch.setattr(run, "make_scaler", make_scaler)
        train(tiny(), after_step=stop)
    assert checkpoint.read_checkpoint(Path(tiny().out) / "last.safetensors")[1]["scaler"] == {}
    assert len(train(replace(tiny(), resume=True)).losses) == 20
