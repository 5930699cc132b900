"""The probability of a name or a text: a distribution over all strings, and that of the chain rule written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import seeded, shaken

from nnhelpers import evaluation
from nnhelpers.batches import context_windows, whole_words
from nnhelpers.bpe import BPETokenizer
from nnhelpers.characters import CharTokenizer
from nnhelpers.evaluation import log_prob
from nnhelpers.gpt import GPT, GPTConfig
from nnhelpers.mlp import MLP
from nnhelpers.ngram import AdditiveNGram, KneserNey, ModifiedKneserNey
from nnhelpers.wavenet import Tree, WaveNet

WORDS = ["ab", "a", "bab", "bbba", "ab", "baa", "b", "aab"]
NAMES = CharTokenizer(WORDS, boundary=".")  # ".ab"
TEXTS = CharTokenizer("abc")
V = 3


def table(seed=0):
    return torch.randn(V, V, generator=seeded(seed), dtype=torch.float64)


def counted(model):
    return model.fit(*context_windows(WORDS, NAMES, block_size=model.block_size))


WINDOW = {
    "bigram": lambda: lambda x: table()[x[:, -1]],
    "mlp": lambda: shaken(MLP(V, 2, 3, 5, norm="batch", generator=seeded())),
    "tree": lambda: shaken(Tree(V, 4, 3, 5, seeded())),
    "unigram": lambda: counted(AdditiveNGram(1, V)),
    "additive": lambda: counted(AdditiveNGram(3, V, alpha=0.1)),
    "kneser-ney": lambda: counted(KneserNey(4, V, discount=0.9)),
    "modified kneser-ney": lambda: counted(ModifiedKneserNey(3, V)),
}
SEQUENCE = {
    "sequence bigram": lambda: lambda x: table()[x],
    "gpt, short block": lambda: shaken(GPT(GPTConfig(V, 3, 1, 1, 4), seeded())),
    "gpt": lambda: shaken(GPT(GPTConfig.modern(V, 9, n_layer=2, n_head=2, n_embd=8, bos_id=0), seeded())),
    "wavenet": lambda: shaken(WaveNet(V, 4, (1, 2), bos_id=0, generator=seeded())),
}
MODELS = {**WINDOW, **SEQUENCE}


def size(model):
    return getattr(model, "block_size", 1)


def next_log_probs(model, stream):
    """ln p of every token after the ids of a stream, by the last `block_size` of them."""
    with torch.no_grad():
        logits = torch.as_tensor(model(torch.tensor([stream[-size(model) :]])))
    logits = logits[0, -1] if logits.ndim == 3 else logits[0]
    return torch.log_softmax(logits.double(), dim=-1).tolist()


def by_hand(model, before, ids):
    stream, total = list(before), 0.0
    for i in ids:
        total += next_log_probs(model, stream)[i]
        stream.append(i)
    return total


def start(name):
    return [0] if name in SEQUENCE else [0] * size(MODELS[name]())


def strings(letters, n):
    return ["".join(word) for word in itertools.product(letters, repeat=n)]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("prompt", ["", "ba"])
def test_the_probabilities_of_all_words_and_of_those_that_go_on_sum_to_one(name, prompt):
    model, n = MODELS[name](), 3
    options = {"block_size": size(model)}
    ended = sum(
        math.exp(log_prob(model, NAMES, word, prompt, **options))
        for length in range(n + 1)
        for word in strings("ab", length)
    )
    before = start(name) + NAMES.encode(prompt)
    goes_on = sum(math.exp(by_hand(model, before, NAMES.encode(word))) for word in strings("ab", n + 1))
    assert 1e-3 < goes_on < 0.99
    assert ended + goes_on == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("name", ["gpt", "gpt, short block", "wavenet", "sequence bigram", "bigram", "mlp"])
@pytest.mark.parametrize("n", [1, 5])
def test_the_probabilities_of_all_texts_of_one_length_sum_to_one(name, n):
    model = MODELS[name]()
    texts = strings("abc", n)
    logs = [log_prob(model, TEXTS, text, "cab", block_size=size(model)) for text in texts]
    assert sum(map(math.exp, logs)) == pytest.approx(1.0, abs=1e-6)
    assert len(set(logs)) > 1


@settings(deadline=None, max_examples=40)
@given(name=st.sampled_from(sorted(MODELS)), word=st.text("ab", max_size=9), prompt=st.text("ab", max_size=5))
def test_the_probability_of_a_word_is_the_chain_rule_with_its_end(name, word, prompt):
    model = MODELS[name]()
    got = log_prob(model, NAMES, word, prompt, block_size=size(model))
    expected = by_hand(model, start(name) + NAMES.encode(prompt), [*NAMES.encode(word), 0])
    assert got == pytest.approx(expected, abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(sorted(MODELS)), text=st.text("abc", max_size=12), prompt=st.text("abc", min_size=4)
)
def test_the_probability_of_a_text_is_the_chain_rule_after_its_prompt(name, text, prompt):
    model = MODELS[name]()
    got = log_prob(model, TEXTS, text, prompt, block_size=size(model))
    assert got == pytest.approx(by_hand(model, TEXTS.encode(prompt), TEXTS.encode(text)), abs=1e-6)


def test_a_name_against_the_bigram_table_by_hand():
    counts = np.ones((V, V))
    for word in WORDS:
        for first, second in itertools.pairwise(f".{word}."):
            counts[NAMES.encode(first)[0], NAMES.encode(second)[0]] += 1
    p = counts / counts.sum(axis=1, keepdims=True)
    expected = math.log(p[0, 2] * p[2, 1] * p[1, 2] * p[2, 0])  # .bab.
    assert log_prob(counted(AdditiveNGram(2, V)), NAMES, "bab") == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_the_words_of_a_split_have_together_the_loss_of_the_split(name):
    model = MODELS[name]()
    if name in SEQUENCE:
        words = [word for word in WORDS if len(word) < max(size(model), 2)]
        x, y = whole_words(words, NAMES)
    else:
        words = WORDS
        x, y = context_windows(words, NAMES, size(model))
    total = sum(log_prob(model, NAMES, word, block_size=size(model)) for word in words)
    assert total == pytest.approx(-evaluation.token_nll(model, x, y).nansum().item(), abs=1e-5)


def test_a_tree_is_the_same_model_dilated_if_it_is_told_how_words_begin():
    tree = shaken(Tree(V, 4, 3, 5, seeded()))
    for word in ("", "ab", "babba"):
        expected = log_prob(tree, NAMES, word)
        assert log_prob(tree.dilated(), NAMES, word, sequence_model=False) == pytest.approx(
            expected, abs=1e-9
        )


def test_what_a_model_never_writes_has_the_probability_0():
    model = counted(AdditiveNGram(2, V, alpha=0.0)).fit(*context_windows(["ab"], NAMES, 1))
    assert log_prob(model, NAMES, "ab") == 0.0
    assert log_prob(model, NAMES, "ba") == -math.inf


@pytest.mark.parametrize("name", MODELS)
def test_the_empty_text_is_certain_and_the_empty_word_is_an_end(name):
    model = MODELS[name]()
    assert log_prob(model, TEXTS, "", "abcab", block_size=size(model)) == 0.0
    expected = next_log_probs(model, start(name))[0]
    assert log_prob(model, NAMES, "", block_size=size(model)) == pytest.approx(expected, abs=1e-6)


def test_special_tokens_and_tokens_of_several_bytes_are_those_of_the_tokenizer():
    tokenizer = BPETokenizer.train("ab ab ba €€", 262, special_tokens=["<end>"])
    model = shaken(GPT(GPTConfig(tokenizer.vocab_size, 4, 1, 1, 4), seeded()))
    before, ids = [tokenizer.special_tokens["<end>"]], tokenizer.encode("ab € ba ab")
    got = log_prob(model, tokenizer, "ab € ba ab", "<end>")
    assert got == pytest.approx(by_hand(model, before, ids), abs=1e-5)


def test_the_model_is_asked_in_eval_mode_and_its_mode_is_put_back():
    model = GPT(GPTConfig(V, 4, 1, 1, 4, dropout=0.5), seeded()).train()
    assert log_prob(model, NAMES, "ab") == log_prob(model, NAMES, "ab")
    assert model.training


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: log_prob(lambda x: table()[x], NAMES, "ab"), "does not say how many tokens it sees"),
        (lambda: log_prob(lambda x: table()[x], NAMES, "ab", block_size=-1), "give block_size, at least 1"),
        (lambda: log_prob(MODELS["gpt"](), TEXTS, "ab"), r"does not know how a text begins: give prompt="),
        (lambda: log_prob(MODELS["gpt"](), NAMES, "a.b"), r"'a\.b' holds the boundary '\.'"),
        (lambda: log_prob(MODELS["gpt"](), NAMES, "ab."), "holds the boundary"),
        (lambda: log_prob(MODELS["gpt"](), NAMES, "ax"), "'x' in 'ax' is not in the vocabulary"),
        (lambda: log_prob(MODELS["tree"](), TEXTS, "ab", "abc"), "reads 4 tokens .* the prompt has 3"),
        (lambda: log_prob(lambda x: (table()[x],), NAMES, "ab", block_size=1), "returned a tuple of 1"),
    ],
)
def test_a_mistake_gets_a_sentence(use, message):
    with pytest.raises(ValueError, match=message):
        use()


def test_logits_that_are_nan_have_no_probability():
    with pytest.raises(FloatingPointError, match="NaN"):
        log_prob(lambda x: torch.full((*x.shape, V), math.nan), NAMES, "ab", block_size=3)
