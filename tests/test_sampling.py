"""What sampling computes of a model, and the text that comes piece by piece."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import seeded

from nnhelpers import sampling
from nnhelpers.bpe import BPETokenizer
from nnhelpers.characters import CharTokenizer
from nnhelpers.gpt import GPT, GPTConfig

VOCAB, BLOCK = 11, 6
SHAPE = {"n_layer": 2, "n_head": 2, "n_embd": 8}


def gpt(make=GPTConfig, **settings):
    """In float64, with large weights, so that what is drawn depends on what was read."""
    model = GPT(make(VOCAB, BLOCK, **{**SHAPE, **settings}), seeded()).double()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.5 * torch.randn(p.shape, generator=seeded(3), dtype=torch.float64)
    return model.eval()


class AllPositions:
    """The slow way: a model that can only give the logits of all positions."""

    def __init__(self, model):
        self._model, self.block_size = model, model.block_size

    def __call__(self, ids, *cache):
        return self._model(ids, *cache)

    def start_cache(self, batch_size):
        return self._model.start_cache(batch_size)


FORMS = {
    "gpt2": gpt,
    "modern": lambda: gpt(GPTConfig.modern),
    "documents": lambda: gpt(GPTConfig.modern, bos_id=0, tie_weights=False),
}


# The last position alone


@pytest.mark.parametrize("form", FORMS)
def test_the_last_logits_are_the_last_of_all_logits(form):
    model = FORMS[form]()
    ids = torch.randint(VOCAB, (3, BLOCK), generator=seeded())
    last = model(ids, last_only=True)
    assert last.shape == (3, 1, VOCAB)
    torch.testing.assert_close(last, model(ids)[:, -1:])
    cache = model.start_cache(3)
    model(ids[:, :4], cache, last_only=True)
    torch.testing.assert_close(model(ids[:, 4:], cache, last_only=True), last)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("length", [1, 4, BLOCK + 3])
def test_what_is_drawn_is_what_the_slow_way_draws(form, cache, length):
    model = FORMS[form]()
    prompt = torch.randint(VOCAB, (3, length), generator=seeded(1))
    fast, slow = (
        sampling.generate(each, prompt, 9, generator=seeded(2), cache=cache)
        for each in (model, AllPositions(model))
    )
    assert fast == slow
    assert len({tuple(row) for row in fast}) == 3


@pytest.mark.parametrize("cache", [False, True])
def test_the_head_is_applied_once_a_row_for_each_token(cache):
    model, rows = gpt(), []
    model.head.register_forward_hook(lambda head, inputs, output: rows.append(output[..., 0].numel()))
    sampling.generate(model, torch.zeros(2, 4, dtype=torch.int64), 5, generator=seeded(), cache=cache)
    assert rows == [2] * 5


def test_a_gpt_whose_forward_is_ones_own_is_sampled_as_any_other_model():
    class Reversed(GPT):
        def forward(self, ids):
            return -super().forward(ids)

    model = Reversed(gpt().config, seeded())
    ids = torch.tensor([[1, 2, 3]])
    (new,) = sampling.generate(model, ids, 1, temperature=0.0)
    assert new == [model(ids)[0, -1].argmax().item()]


# Text as it comes

LETTERS = "aé界😉e\u0301\n"
TOKENIZERS = {
    "characters": CharTokenizer(LETTERS),
    # every byte a token: a character takes up to four of them, and most draws are no characters at all
    "bytes": BPETokenizer.train("", 256),
    "pairs": BPETokenizer.train((LETTERS + " ") * 40, 266, special_tokens=["<界>"]),
}


class Scripted:
    """A model that writes given ids, one after another."""

    block_size = 4

    def __init__(self, ids, vocab_size):
        self._ids, self._vocab_size, self._n_read = ids, vocab_size, 0

    def __call__(self, ids):
        logits = torch.full((1, self._vocab_size), -torch.inf)
        logits[0, self._ids[self._n_read]] = 0.0
        self._n_read += 1
        return logits


@settings(deadline=None, max_examples=200)
@given(
    name=st.sampled_from(list(TOKENIZERS)),
    prompt=st.text(LETTERS, min_size=1, max_size=6),
    text=st.text(LETTERS, max_size=12),
    draws=st.lists(st.integers(0, 10**6), max_size=12),
)
def test_the_pieces_are_the_text_that_is_returned_and_it_is_what_the_ids_spell(name, prompt, text, draws):
    tokenizer = TOKENIZERS[name]
    # whole characters, then any ids at all
    new = tokenizer.encode(text) + [i % tokenizer.vocab_size for i in draws]
    ids = tokenizer.encode(prompt)
    pieces = []
    model = Scripted(new, tokenizer.vocab_size)
    whole = sampling.complete(model, tokenizer, prompt, len(new), on_text=pieces.append)
    assert whole == "".join(pieces) == tokenizer.decode(ids + new)
    assert all(pieces)
    assert pieces[0].startswith(prompt)


def test_a_character_waits_until_its_last_byte_has_come_and_no_longer():
    tokenizer = TOKENIZERS["bytes"]
    new = tokenizer.encode("é界a") + tokenizer.encode("😉")[:3]
    pieces = []
    sampling.complete(Scripted(new, 256), tokenizer, "x", len(new), on_text=pieces.append)
    assert pieces == ["x", "é", "界", "a", "\ufffd"]


def test_a_piece_is_there_before_the_next_token_is_computed():
    tokenizer, events = TOKENIZERS["characters"], []

    def model(ids):
        events.append("model")
        return torch.eye(tokenizer.vocab_size)[:1]

    model.block_size = 4
    sampling.complete(model, tokenizer, "é", 2, temperature=0.0, on_text=events.append)
    first = tokenizer.decode([0])
    assert events == ["é", "model", first, "model", first]


def test_the_ids_of_each_step_are_told_as_they_are_drawn():
    steps = []
    rows = sampling.generate(
        gpt(), torch.zeros(2, 3, dtype=torch.int64), 5, generator=seeded(), after_token=steps.append
    )
    assert torch.stack(steps, dim=1).tolist() == rows


def test_only_ids_that_the_tokenizer_knows_are_drawn():
    logits = torch.arange(9.0)[None]
    ids = torch.zeros(1, 1, dtype=torch.int64)
    options = {"block_size": 1, "temperature": 0.0}
    assert sampling.generate(lambda x: logits, ids, 1, **options) == [[8]]
    assert sampling.generate(lambda x: logits, ids, 1, allowed_ids=range(4), **options) == [[3]]
