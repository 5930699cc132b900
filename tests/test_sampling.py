"""What sampling computes of a model, and the text that comes piece by piece."""

from __future__ import annotations

import pytest
import torch
from oracles import seeded

from nnhelpers import sampling
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
