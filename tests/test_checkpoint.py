"""Checkpoints and the log of steps: what is written comes back, and what is damaged is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from nnhelpers.gpt import GPT, GPTConfig
from nnhelpers.optim import make_optimizers
from nnhelpers.train.checkpoint import (
    FIRST_FORMAT,
    StepLog,
    check_same,
    gather,
    read_checkpoint,
    restore,
    write_checkpoint,
)


def gpt(seed=0, **settings):
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 8, **settings}
    return GPT(GPTConfig.modern(11, 6, **shape), torch.Generator().manual_seed(seed))


def trained(name, n_steps=3, seed=0):
    """A small model after some steps, with its optimizers."""
    model = gpt(seed)
    optimizers = make_optimizers(model, name, 0.01, 0.1)
    step(model, optimizers, n_steps)
    return model, optimizers


def step(model, optimizers, n_steps):
    ids = torch.arange(60).view(10, 6) % 11
    for _ in range(n_steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
        model(ids).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# Checkpoints


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_what_goes_on_from_a_checkpoint_is_bit_for_bit_what_never_stopped(name, tmp_path):
    model, optimizers = trained(name)
    write_checkpoint(tmp_path / "c", gather(model, optimizers), {"step": 3})
    step(model, optimizers, 4)
    again, its_optimizers = trained(name, 0, seed=1)
    found, info = read_checkpoint(tmp_path / "c", "step")
    restore(again, found, its_optimizers)
    step(again, its_optimizers, 4)
    assert info == {"step": 3}
    assert same(gather(again, its_optimizers), gather(model, optimizers))


def test_a_checkpoint_names_every_parameter_once_and_every_state(tmp_path):
    model, optimizers = trained("muon")
    names = gather(model, optimizers).keys()
    assert {n for n in names if n.startswith("model.")} == {f"model.{n}" for n, _ in model.named_parameters()}
    assert sum(n.endswith(".momentum") for n in names) == len(model.hidden_matrices())
    others = sum(1 for _ in model.parameters()) - len(model.hidden_matrices())
    assert sum(n.endswith(".exp_avg") for n in names) == others
    assert gather(model, optimizers, keep=False) == {}


def test_the_model_alone_is_read_from_a_checkpoint_with_optimizers():
    model, optimizers = trained("adamw")
    other = gpt(seed=1)
    restore(other, gather(model, optimizers))
    assert same(gather(other), gather(model))


@given(cut=st.floats(0, 1, exclude_max=True))
@settings(deadline=None, max_examples=30)
def test_a_checkpoint_cut_anywhere_is_refused(cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("cut") / "c"
    write_checkpoint(path, gather(gpt()), {})
    raw = path.read_bytes()
    path.write_bytes(raw[: int(cut * len(raw))])
    with pytest.raises(ValueError, match="not a safetensors file, or is cut short"):
        read_checkpoint(path)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(deadline=None, max_examples=60)
def test_a_checkpoint_with_one_changed_bit_is_refused(place, bit, tmp_path_factory):
    path = tmp_path_factory.mktemp("bit") / "c"
    write_checkpoint(path, gather(gpt()), {"step": 1})
    raw = bytearray(path.read_bytes())
    raw[int(place * len(raw))] ^= 1 << bit
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"safetensors|version|damaged"):
        read_checkpoint(path)


def test_a_pickle_is_refused_and_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    for name, write in (
        ("a", lambda path: path.write_bytes(pickle.dumps(Bomb()))),
        ("b", lambda path: torch.save(Bomb(), path)),
    ):
        write(tmp_path / name)
        with pytest.raises(ValueError, match=r"Pickled checkpoints .* are not read"):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_other_versions_and_other_kinds_are_refused(tmp_path):
    write_checkpoint(tmp_path / "c", gather(gpt()), {"step": 1})
    with pytest.raises(ValueError, match="another kind: it does not tell its settings"):
        read_checkpoint(tmp_path / "c", "step", "settings")
    save_file(load_file(tmp_path / "c"), tmp_path / "c", {"format": "nnhelpers.checkpoint 0", "info": "{}"})
    with pytest.raises(ValueError, match=r"not a checkpoint of this version.*says 'nnhelpers.checkpoint 0'"):
        read_checkpoint(tmp_path / "c")
    save_file(load_file(tmp_path / "c"), tmp_path / "c")
    with pytest.raises(ValueError, match="says None"):
        read_checkpoint(tmp_path / "c")
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.pop("model.norm.weight"), r"lacks model\.norm\.weight"),
        (lambda found: found.update(more=torch.zeros(1)), "holds more, which this model"),
        (
            lambda found: found.update({"model.norm.weight": torch.zeros(9)}),
            r"should be float32 of shape \(8,\)",
        ),
        (lambda found: found.update({"model.norm.weight": torch.zeros(8).int()}), r"it is torch\.int32"),
        (lambda found: found.update({"model.norm.weight": torch.zeros(8).half()}), r"it is torch\.float16"),
        (
            lambda found: found.pop("optimizer.0.norm.weight.exp_avg"),
            r"lacks optimizer\.0\.norm\.weight\.exp_avg",
        ),
        (lambda found: found.update({"optimizer.0.norm.weight.step": torch.zeros(8)}), r"of shape \(\);"),
    ],
)
def test_what_does_not_fit_the_model_is_named_and_changes_nothing(change, message):
    model, optimizers = trained("adamw")
    found = gather(model, optimizers)
    change(found)
    other, its_optimizers = trained("adamw", 1, seed=1)
    before = {name: tensor.clone() for name, tensor in gather(other, its_optimizers).items()}
    with pytest.raises(ValueError, match=message):
        restore(other, found, its_optimizers)
    assert same(gather(other, its_optimizers), before)


def test_the_state_of_another_optimizer_is_refused():
    model, optimizers = trained("muon")
    with pytest.raises(ValueError, match="the checkpoint lacks optimizer"):
        restore(model, gather(model, optimizers), make_optimizers(model, "adamw", 0.1))


def test_the_state_of_an_optimizer_that_no_checkpoint_knows_is_refused_by_name():
    model = gpt()
    with pytest.raises(ValueError, match="the state of AdamW, Muon, SGD, not of RMSprop"):
        restore(model, gather(model), [torch.optim.RMSprop(model.parameters())])


def test_a_checkpoint_of_the_first_version_is_read_under_todays_names(tmp_path):
    info = {
        "place": {"device": "cpu"},
        "settings": {"rate": 0.01, "form": "gpt2", "clip": 1.0, "n_embd": 8},
        "model": {"tied": True, "start_id": None, "n_embd": 8},
    }
    write_checkpoint(tmp_path / "c", gather(gpt()), info)
    with safe_open(tmp_path / "c", "pt") as file:
        metadata = {**file.metadata(), "format": FIRST_FORMAT}
    save_file(load_file(tmp_path / "c"), tmp_path / "c", metadata)
    tensors, found = read_checkpoint(tmp_path / "c", "hardware")
    assert same(tensors, gather(gpt()))
    assert found == {
        "hardware": {"device": "cpu"},
        "settings": {"learning_rate": 0.01, "architecture": "gpt2", "grad_clip": 1.0, "n_embd": 8},
        "model": {"tie_weights": True, "bos_id": None, "n_embd": 8},
    }


def test_a_log_of_the_first_version_is_read_under_todays_names(tmp_path):
    line = b'{"step": 1, "loss": 2.0, "rate": 0.1}\n'
    (tmp_path / "log.jsonl").write_bytes(line)
    assert StepLog(tmp_path / "log.jsonl", len(line)).records == [{"step": 1, "loss": 2.0, "lr": 0.1}]


def test_what_changed_is_named():
    check_same({"a": 1, "b": 2}, {"a": 1, "b": 3}, may_change=("b",))
    with pytest.raises(ValueError, match="began with b 2, not 3, c None, not 4: it can go on only"):
        check_same({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4})


def test_a_log_keeps_what_belongs_to_the_checkpoint(tmp_path):
    path = tmp_path / "log.jsonl"
    log = StepLog(path)
    sizes = []
    for i in range(3):
        log.write({"step": i, "loss": 0.1 * i})
        sizes.append(log.n_bytes)
    log.close()
    path.write_bytes(path.read_bytes() + b'{"step": 3, "lo')  # killed while writing
    again = StepLog(path, sizes[1])
    assert again.records == [{"step": 0, "loss": 0.0}, {"step": 1, "loss": 0.1}]
    again.write({"step": 2, "loss": 7.0})
    again.close()
    assert [json.loads(line)["loss"] for line in path.read_text().splitlines()] == [0.0, 0.1, 7.0]
    with pytest.raises(ValueError, match="are not lines of JSON"):
        StepLog(path, sizes[1] - 3)
