"""Models to a file and back: bit for bit the same in a fresh process, and nothing else is taken for one."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from oracles import seeded, shaken
from safetensors.torch import load_file, save_file
from torch import nn

from nnhelpers import files, layers, models, sampling
from nnhelpers.fit import fit
from nnhelpers.gpt import GPT, GPTConfig
from nnhelpers.mlp import MLP
from nnhelpers.ngram import AdditiveNGram, KneserNey, ModifiedKneserNey
from nnhelpers.wavenet import DilatedTree, Tree, WaveNet

V, BLOCK = 11, 4
IDS = torch.randint(V, (40, BLOCK), generator=seeded(5))
NEXT = torch.randint(V, (40,), generator=seeded(6))


def moved(model):
    """With every parameter and buffer at a number of its own, in float32."""
    return shaken(model, torch.float32)


def by_hand(norm=layers.BatchNorm1d):
    """The batch-norm MLP as a page builds it, of layers."""
    return layers.Sequential(
        layers.Embedding(V, 3, seeded()),
        layers.Flatten(),
        layers.Linear(3 * BLOCK, 8, bias=False, nonlinearity="tanh", generator=seeded(1)),
        norm(8),
        layers.Tanh(),
        layers.Sequential(layers.Linear(8, 8, generator=seeded(3)), layers.ReLU()),
        layers.Linear(8, V, generator=seeded(2)),
    )


def gpt(**settings):
    return GPT(GPTConfig(V, 6, n_layer=2, n_head=2, n_embd=8, **settings), seeded())


def modern(**settings):
    return GPT(GPTConfig.modern(V, 6, n_layer=2, n_head=2, n_embd=8, **settings), seeded())


MODELS = {
    "gpt": gpt,
    "gpt, untied, of documents": lambda: gpt(tie_weights=False, dropout=0.1, bos_id=0),
    "modern gpt": lambda: modern(qk_norm=True),
    "gpt in bfloat16": lambda: modern().bfloat16(),
    "gpt in float64": lambda: gpt().double(),
    "mlp": lambda: MLP(V, BLOCK, 3, 8, generator=seeded()),
    "mlp, tanh, batch": lambda: MLP(V, BLOCK, 3, 8, 2, activation="tanh", norm="batch", generator=seeded()),
    "mlp, relu, layer": lambda: MLP(V, BLOCK, 3, 8, 3, norm="layer", generator=seeded()),
    "mlp in float64": lambda: MLP(V, BLOCK, 3, 8, norm="batch", generator=seeded()).to(torch.float64),
    "layers": by_hand,
    "layers, other settings": lambda: by_hand(lambda n: layers.BatchNorm1d(n, eps=1e-3, momentum=None)),
    "layers, layer norm": lambda: by_hand(lambda n: layers.LayerNorm(n, eps=1e-4)),
    "one table": lambda: layers.Embedding(V, V, seeded()),
    "tree": lambda: Tree(V, BLOCK, 3, 8, seeded()),
    "dilated tree": lambda: Tree(V, BLOCK, 3, 8, seeded()).dilated(),
    "wavenet": lambda: WaveNet(V, 6, (1, 2), generator=seeded()),
    "wavenet, other settings": lambda: WaveNet(V, 6, (1, 3, 2), 3, 5, 0.2, bos_id=0, generator=seeded()),
}
COUNTING = {
    "unigram": lambda: AdditiveNGram(1, V, alpha=0.0),
    "additive": lambda: AdditiveNGram(3, V, alpha=np.float64(0.1)),
    "kneser-ney": lambda: KneserNey(3, V),
    "kneser-ney, discount": lambda: KneserNey(4, V, discount=0.9),
    "modified kneser-ney": lambda: ModifiedKneserNey(3, V),
}


def make(name):
    if name in COUNTING:
        return COUNTING[name]().fit(IDS, NEXT)
    return moved(MODELS[name]()) if "in" not in name.split() else MODELS[name]().eval()


ALL = [*MODELS, *COUNTING]


def same_bits(a, b):
    # equal is not enough: -0.0 == 0.0
    return (
        a.dtype == b.dtype
        and a.shape == b.shape
        and a.numpy(force=True).tobytes() == b.numpy(force=True).tobytes()
    )


def bits(tensor):
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().contiguous()


def test_loaded_models_give_the_same_bits_in_a_fresh_process(tmp_path):
    for i, name in enumerate(ALL):
        models.save(make(name), tmp_path / f"{i}.safetensors")
    code = f"""
import sys, torch
from nnhelpers import files, models
ids = files.read_tensors("ids.safetensors")[0]["ids"]
outputs = {{}}
with torch.no_grad():
    for i in range({len(ALL)}):
        outputs[str(i)] = models.load(f"{{i}}.safetensors")(ids)
files.write_tensors("outputs.safetensors", outputs)
"""
    files.write_tensors(tmp_path / "ids.safetensors", {"ids": IDS})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    outputs = load_file(tmp_path / "outputs.safetensors")
    for i, name in enumerate(ALL):
        with torch.no_grad():
            expected = make(name)(IDS)
        assert same_bits(bits(outputs[str(i)]), bits(expected)), name
        assert outputs[str(i)].dtype == expected.dtype


@pytest.mark.parametrize("name", ALL)
def test_a_loaded_model_is_the_one_saved_and_can_be_saved_again(name, tmp_path):
    model = make(name)
    models.save(model, tmp_path / "a")
    state = torch.random.get_rng_state()
    again = models.load(tmp_path / "a")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert type(again) is type(model)
    assert repr(again) == repr(model)
    models.save(again, str(tmp_path / "b"))
    (tensors, metadata), (tensors_2, metadata_2) = (files.read_tensors(tmp_path / file) for file in "ab")
    assert metadata_2 == metadata
    assert tensors_2.keys() == tensors.keys()
    assert all(same_bits(bits(tensors_2[key]), bits(tensors[key])) for key in tensors)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    if name in MODELS:
        assert not any(module.training for module in again.modules())
        assert getattr(again, "block_size", None) == getattr(model, "block_size", None)


@pytest.mark.parametrize("name", ["gpt", "mlp, tanh, batch", "layers", "wavenet", "tree", "dilated tree"])
def test_a_loaded_model_trains_on_as_the_one_saved(name, tmp_path):
    model = make(name)
    models.save(model, tmp_path / "a")
    again = models.load(tmp_path / "a")
    with torch.no_grad():
        is_sequence_model = model(IDS).ndim == 3
    targets = IDS.roll(-1, dims=1) if is_sequence_model else NEXT
    batches = [(IDS, targets)] * 3
    logs = [fit(each, batches, 3, 0.01, val=(IDS, targets)) for each in (model, again)]
    assert logs[0].losses == logs[1].losses
    assert logs[0].val_losses == logs[1].val_losses


def test_tied_weights_stay_tied_and_stand_in_the_file_once(tmp_path):
    models.save(gpt(), tmp_path / "a")
    assert "head.weight" not in load_file(tmp_path / "a")
    again = models.load(tmp_path / "a")
    assert again.head.weight is again.token_embedding.weight


def test_a_model_in_training_mode_stays_in_it_and_loads_in_eval_mode(tmp_path):
    model = moved(by_hand()).train()
    models.save(model, tmp_path / "a")
    assert model.training
    again = models.load(tmp_path / "a")
    assert not again.training
    assert torch.equal(again(IDS), model.eval()(IDS))


def test_a_loaded_model_generates_with_its_cache(tmp_path):
    model = moved(gpt())
    models.save(model, tmp_path / "a")
    rows = [
        sampling.generate(each, IDS[:3], 5, generator=seeded(2), cache=True)
        for each in (model, models.load(tmp_path / "a"))
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(("name", "attributes"), [("kneser-ney", ["discount"]), ("additive", ["alpha"])])
def test_a_counting_model_keeps_its_settings_and_counts(name, attributes, tmp_path):
    model = make(name)
    models.save(model, tmp_path / "a")
    again = models.load(tmp_path / "a")
    for attribute in ["order", "vocab_size", "block_size", "n_parameters", *attributes]:
        assert getattr(again, attribute) == getattr(model, attribute)
    if name != "additive":
        np.testing.assert_array_equal(again.discounts, model.discounts)
    assert again.fit(IDS[:9], NEXT[:9]).n_parameters == COUNTING[name]().fit(IDS[:9], NEXT[:9]).n_parameters


# What is refused


class Mine(nn.Module):
    pass


class MyGPT(GPT):
    pass


def changed(build, change):
    model = build()
    change(model)
    return model


def with_dropout():
    return layers.Sequential(layers.Embedding(V, V), nn.Dropout(0.5))


def twice_the_same():
    table = layers.Embedding(V, V)
    return layers.Sequential(table, table)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (Mine, r"a test_models.Mine cannot be saved .* only GPT, MLP, .* files.write_tensors"),
        (lambda: MyGPT(GPTConfig(V, 6, 1, 1, 4)), "a test_models.MyGPT cannot be saved"),
        (lambda: nn.Linear(2, 2), "a torch.nn.modules.linear.Linear cannot be saved"),
        (lambda: {"weight": torch.zeros(2)}, "a builtins.dict cannot be saved"),
        (with_dropout, "a torch.nn.modules.dropout.Dropout cannot be saved"),
        (lambda: AdditiveNGram(2, V), "counted nothing yet"),
        (lambda: ModifiedKneserNey(2, V), "counted nothing yet"),
        (
            lambda: changed(gpt, lambda m: setattr(m, "head", nn.Linear(8, 2 * V))),
            "this GPT was changed after it was built",
        ),
        (lambda: changed(gpt, lambda m: m.blocks.append(nn.Identity())), "this GPT was changed"),
        (lambda: changed(by_hand, lambda m: m.layers.append(m.layers[0])), "this Sequential was changed"),
        (twice_the_same, "this Sequential was changed"),
        (lambda: changed(MODELS["mlp"], lambda m: m.layers.pop(2)), "this MLP was changed"),
        (lambda: changed(MODELS["mlp"], lambda m: m.layers.clear()), "this MLP was changed"),
        (lambda: changed(MODELS["mlp"], lambda m: m.layers.reverse()), "this MLP was changed"),
        (
            lambda: changed(MODELS["mlp, tanh, batch"], lambda m: setattr(m.layers[3], "eps", 0.1)),
            "this MLP was changed",
        ),
        (lambda: changed(MODELS["wavenet"], lambda m: m.layers.pop(-1)), "this WaveNet was changed"),
    ],
)
def test_what_would_not_come_back_as_it_was_is_not_saved(build, message, tmp_path):
    with pytest.raises(ValueError, match=message) as error:
        models.save(build(), tmp_path / "a")
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == []


def rewritten(path, change):
    """The file with its tensors and metadata changed, and a digest that fits them: made on purpose, not damaged."""
    tensors, metadata = files.read_tensors(path)
    tensors, metadata = copy.copy(tensors), dict(metadata)
    change(tensors, metadata)
    metadata["sha256"] = files.digest(tensors, metadata["class"] + metadata["config"])
    save_file(tensors, path, metadata)


def set_config(**settings):
    def change(tensors, metadata):
        metadata["config"] = json.dumps({**json.loads(metadata["config"]), **settings})

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t, m: m.update({"class": "os.system"}),
            "of the class 'os.system', which is none of GPT, MLP",
        ),
        (lambda t, m: m.update({"class": "Tree"}), "does not describe a Tree: .*unexpected keyword"),
        (lambda t, m: m.update({"config": "[1, 2"}), "does not describe a GPT"),
        (lambda t, m: m.update({"config": "[1, 2]"}), "does not describe a GPT"),
        (set_config(n_embd=7), "does not describe a GPT: each head takes an equal part"),
        (set_config(n_embd=16), "its tensors do not fit its settings, beginning with blocks.0"),
        (set_config(code="print()"), "does not describe a GPT: .*unexpected keyword"),
        (lambda t, m: t.pop("norm.weight"), "do not fit its settings, beginning with norm.weight"),
        (lambda t, m: t.update(extra=torch.zeros(1)), "beginning with extra"),
        (lambda t, m: t.update({"norm.bias": torch.zeros(8).long()}), "beginning with norm.bias"),
        (lambda t, m: m.update({"format": "nnhelpers.model 99"}), "says 'nnhelpers.model 99'"),
        (lambda t, m: m.update({"format": "nnhelpers.checkpoint 2"}), "was not written by models.save"),
    ],
)
def test_a_file_that_describes_no_model_gets_a_sentence(change, message, tmp_path):
    path = tmp_path / "model"
    models.save(gpt(), path)
    rewritten(path, change)
    with pytest.raises(ValueError, match=message) as error:
        models.load(path)
    assert str(error.value).startswith("model ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda t, m: t.update({"2.contexts": t["2.contexts"].flip(0)}),
        lambda t, m: t.update({"2.contexts": t["2.contexts"] + V**2}),
        lambda t, m: t.update({"2.probs": t["2.probs"][1:]}),
        lambda t, m: t.update({"2.probs": t["2.probs"].float()}),
        lambda t, m: t.update({"0.contexts": t["0.contexts"][:0], "0.probs": t["0.probs"][:0]}),
        lambda t, m: t.update({"discounts": t["discounts"][1:]}),
        lambda t, m: t.pop("discounts"),
        lambda t, m: t.pop("1.probs"),
        set_config(order=4),
        set_config(vocab_size=V + 1),
        set_config(discount=7),
    ],
)
def test_tables_that_do_not_belong_to_a_counting_model_get_a_sentence(change, tmp_path):
    path = tmp_path / "model"
    models.save(make("kneser-ney"), path)
    rewritten(path, change)
    with pytest.raises(ValueError, match=r"^model does not describe a KneserNey: ") as error:
        models.load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["mlp", "additive"])
def test_a_damaged_file_is_noticed_wherever_it_is_damaged(name, tmp_path):
    path = tmp_path / "model"
    models.save(make(name), path)
    whole = path.read_bytes()
    for place in [*range(0, len(whole), len(whole) // 60), len(whole) - 1]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=r"^model (is|was|holds|does)"):
            models.load(path)
        path.write_bytes(whole[:place])
        with pytest.raises(ValueError, match="is not a safetensors file, or is cut short"):
            models.load(path)


def test_other_files_are_refused_and_a_pickle_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "run"),)

    path = tmp_path / "model.pt"
    for content in (pickle.dumps(Trap()), b"", b"{}", b"hello"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a safetensors file"):
            models.load(path)
    files.write_tensors(path, {"weight": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"was not written by models.save: it should say .* and says None"):
        models.load(path)
    assert os.listdir(tmp_path) == ["model.pt"]
    with pytest.raises(FileNotFoundError, match="there is no file"):
        models.load(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        models.save(gpt(), tmp_path / "none" / "model")


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model"
    models.save(gpt(), path)
    before = path.read_bytes()

    def full(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        models.save(modern(), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]


def test_every_class_that_can_be_saved_is_tried_here():
    kinds = {type(part) for name in MODELS for part in MODELS[name]().modules()}
    kinds |= {type(COUNTING[name]()) for name in COUNTING}
    assert set(models.CONFIGS) <= kinds
    assert DilatedTree in kinds
