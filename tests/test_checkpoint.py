"""Checkpoints, the journal and token files: what is written comes back, and what is damaged is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from nnhelpers import data, evaluation, files, tokens
from nnhelpers.batches import text_windows
from nnhelpers.bpe import BPETokenizer
from nnhelpers.checkpoint import (
    Journal,
    check_same,
    gather,
    read_checkpoint,
    restore,
    write_checkpoint,
)
from nnhelpers.gpt import GPT, GPTConfig
from nnhelpers.optim import make_optimizers

PLAYS = data.load_shakespeare()
BPE = {
    pattern: BPETokenizer.train(PLAYS[:20_000], 320, pattern)
    for pattern in (
        BPETokenizer.from_tiktoken("gpt2").pattern,
        BPETokenizer.from_tiktoken("cl100k_base").pattern,
    )
}
MIXED = st.text(st.sampled_from("ab1é'!_ \n\t界\u0301\u00a0"), max_size=60)


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


def test_what_changed_is_named():
    check_same({"a": 1, "b": 2}, {"a": 1, "b": 3}, free=("b",))
    with pytest.raises(ValueError, match="began with b 2, not 3, c None, not 4: it can go on only"):
        check_same({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4})


def test_a_journal_keeps_what_belongs_to_the_checkpoint(tmp_path):
    path = tmp_path / "log.jsonl"
    journal = Journal(path)
    sizes = []
    for i in range(3):
        journal.write({"step": i, "loss": 0.1 * i})
        sizes.append(journal.n_bytes)
    journal.close()
    path.write_bytes(path.read_bytes() + b'{"step": 3, "lo')  # killed while writing
    again = Journal(path, sizes[1])
    assert again.records == [{"step": 0, "loss": 0.0}, {"step": 1, "loss": 0.1}]
    again.write({"step": 2, "loss": 7.0})
    again.close()
    assert [json.loads(line)["loss"] for line in path.read_text().splitlines()] == [0.0, 0.1, 7.0]
    with pytest.raises(ValueError, match="are not lines of JSON"):
        Journal(path, sizes[1] - 3)


# Token files


@given(text=MIXED, size=st.integers(1, 9), pattern=st.sampled_from([None, *BPE]))
@settings(deadline=None, max_examples=300)
def test_a_text_in_pieces_is_encoded_as_at_once(text, size, pattern):
    tokenizer = BPE[pattern] if pattern else data.CharTokenizer(text + "x")
    blocks = [text[i : i + size] for i in range(0, len(text), size)]
    cut = list(files.text_pieces(blocks))
    assert "".join(cut) == text
    assert [i for piece in cut for i in tokenizer.encode(piece)] == tokenizer.encode(text)


@pytest.mark.parametrize("pattern", BPE)
def test_a_file_in_pieces_is_encoded_as_at_once(pattern, tmp_path):
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbf" + PLAYS[:30_000].replace("\n", "\r\n").encode())
    blocks = list(tokens.read_blocks(tmp_path / "t.txt", size=100))
    assert "".join(blocks) == data.read_text(tmp_path / "t.txt") == PLAYS[:30_000]
    assert len(list(files.text_pieces(blocks))) > 200
    source = {"text": "the plays"}
    tokens.write_tokens(tmp_path / "t.bin", blocks, BPE[pattern].encode, 320, source)
    ids, header = tokens.open_tokens(tmp_path / "t.bin", source)
    assert ids.tolist() == BPE[pattern].encode(PLAYS[:30_000])
    assert (ids.dtype, header["n_tokens"], header["vocab_size"]) == (np.uint16, len(ids), 320)


@pytest.mark.parametrize(("vocab_size", "dtype"), [(2**16, np.uint16), (2**16 + 1, np.uint32)])
def test_ids_take_two_bytes_where_they_fit(vocab_size, dtype, tmp_path):
    ids = [0, 1, vocab_size - 1]
    tokens.write_tokens(tmp_path / "t.bin", ["abc"], lambda text: ids, vocab_size, {})
    found, _ = tokens.open_tokens(tmp_path / "t.bin")
    assert (found.dtype, found.tolist()) == (dtype, ids)
    with pytest.raises(ValueError, match=f"do not fit a vocabulary of {vocab_size - 1}"):
        tokens.write_tokens(tmp_path / "u.bin", ["abc"], lambda text: ids, vocab_size - 1, {})
    with pytest.raises(FileNotFoundError):  # what stopped half-way has no header
        tokens.open_tokens(tmp_path / "u.bin")


def test_a_stale_or_cut_token_file_is_refused(tmp_path):
    path = tmp_path / "t.bin"
    tokens.write_tokens(path, ["abc"], lambda text: [1, 2, 3], 5, {"text": "1"})
    with pytest.raises(ValueError, match="made from another text"):
        tokens.open_tokens(path, {"text": "2"})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="should hold 6 bytes, found 5 bytes"):
        tokens.open_tokens(path)
    path.unlink()
    with pytest.raises(ValueError, match="found no such file"):
        tokens.open_tokens(path)
    tokens.write_tokens(path, [], lambda text: [], 5, {})
    with pytest.raises(ValueError, match="holds no tokens"):
        tokens.open_tokens(path)
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(ValueError, match="not the header of a token file"):
        tokens.open_tokens(path)


def test_a_file_that_is_no_text_gets_a_sentence(tmp_path):
    (tmp_path / "t").write_bytes(b"abc\xff")
    with pytest.raises(ValueError, match="t is not UTF-8 text"):
        list(tokens.read_blocks(tmp_path / "t"))
    with pytest.raises(FileNotFoundError, match="there is no file"):
        list(tokens.read_blocks(tmp_path / "none"))


@given(n=st.integers(2, 60), block=st.integers(1, 9), batch=st.integers(1, 30), n_parts=st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_a_full_pass_counts_every_token_once_however_it_is_shared(n, block, batch, n_parts):
    ids = np.arange(n).astype(np.uint16)
    counted = []

    def uneven(x):  # the loss of a target is known, and that of every other one differs
        counted.append(x)
        return torch.log_softmax(x[..., None] * 0.01 * torch.arange(float(n)), dim=-1)

    parts = [tokens.text_nll(uneven, ids, block, batch, (i, n_parts)) for i in range(n_parts)]
    assert len(counted) % n_parts == 0  # all run the model equally often
    expected = sum(
        -torch.log_softmax(i * 0.01 * torch.arange(float(n)), dim=-1).double()[i + 1].item()
        for i in range(n - 1)
    )
    assert sum(parts) == pytest.approx(expected, rel=1e-5)


def test_a_full_pass_is_that_of_evaluation():
    ids = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5], dtype=np.uint32)
    want = evaluation.token_nll(gpt(), *text_windows(torch.from_numpy(ids).long(), 6)).nansum().item()
    assert tokens.text_nll(gpt(), ids, 6) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("tokenizer", [data.CharTokenizer('"\\é\n界 ab'), next(iter(BPE.values()))])
def test_tokenizers_come_back(tokenizer, tmp_path):
    tokens.save_tokenizer(tokenizer, tmp_path / "t.json")
    again = tokens.load_tokenizer(tmp_path / "t.json", BPETokenizer.load)
    assert type(again) is type(tokenizer)
    assert again.encode("ab é") == tokenizer.encode("ab é")


@pytest.mark.parametrize(
    "content", ["[]", "{}", "{", '{"format": "nnhelpers.characters 1", "characters": "ba"}']
)
def test_what_is_no_tokenizer_is_refused(content, tmp_path):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(ValueError, match=r"no tokenizer|not JSON|damaged"):
        tokens.load_tokenizer(tmp_path / "t.json", BPETokenizer.load)
