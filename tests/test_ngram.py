"""Counting models: against independent counts, and the laws of probability for every context."""

from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnhelpers import data, evaluation
from nnhelpers.ngram import AdditiveNGram, KneserNey

words = st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=12)
TOKENIZER = data.CharTokenizer("abc", boundary=".")


def windows(some_words, order):
    return data.context_windows(some_words, TOKENIZER, max(order - 1, 1))


def all_contexts(order):
    grids = np.meshgrid(*[np.arange(4)] * max(order - 1, 1), indexing="ij")
    return np.stack([g.ravel() for g in grids], axis=1)


@settings(max_examples=150, deadline=None)
@given(words, st.integers(1, 5), st.sampled_from([None, 0.3, 0.9]))
def test_kneser_ney_gives_probabilities_that_sum_to_one_for_every_context(some_words, order, discount):
    model = KneserNey(order, 4, discount).fit(*windows(some_words, order))
    probabilities = np.exp(model(all_contexts(order)))
    assert np.allclose(probabilities.sum(1), 1.0, atol=1e-12)
    assert (probabilities > 0).all()


@settings(max_examples=100, deadline=None)
@given(words, st.integers(1, 4), st.sampled_from([0.0, 0.01, 1.0]))
def test_additive_smoothing_gives_probabilities_that_sum_to_one_for_every_context(some_words, order, alpha):
    model = AdditiveNGram(order, 4, alpha).fit(*windows(some_words, order))
    assert np.allclose(np.exp(model(all_contexts(order))).sum(1), 1.0, atol=1e-12)


def additive_by_dictionary(some_words, order, alpha, context, target):
    counts = defaultdict(Counter)
    for word in some_words:
        padded = "." * (order - 1) + word + "."
        for i in range(order - 1, len(padded)):
            counts[padded[i - order + 1 : i]][padded[i]] += 1
    row = counts[context]
    return (row[target] + alpha) / (row.total() + 4 * alpha)


@settings(max_examples=60, deadline=None)
@given(words, st.integers(2, 4))
def test_additive_counts_equal_a_count_by_dictionary(some_words, order):
    model = AdditiveNGram(order, 4, 0.5).fit(*windows(some_words, order))
    for context in all_contexts(order)[:16]:
        row = np.exp(model(context[None]))[0]
        text = TOKENIZER.decode(context)
        expected = [additive_by_dictionary(some_words, order, 0.5, text, c) for c in ".abc"]
        assert row == pytest.approx(expected)


def kneser_ney_by_recursion(grams, context, target, discount, top=True):
    """The textbook recursion over a multiset of n-grams, written for one probability at a time."""
    if not grams or len(next(iter(grams))) == 0:
        return 1 / 4
    seen = {g: c for g, c in grams.items() if g[:-1] == context}
    shorter = Counter(g[1:] for g in grams) if len(context) else Counter()  # each distinct gram counts once
    lower = kneser_ney_by_recursion(shorter, context[1:], target, discount) if len(context) else 1 / 4
    if not seen:
        return lower
    total = sum(seen.values())
    return max(seen.get((*context, target), 0) - discount, 0) / total + discount * len(seen) / total * lower


@settings(max_examples=60, deadline=None)
@given(words, st.integers(1, 4), st.sampled_from([0.4, 0.8]))
def test_kneser_ney_equals_the_textbook_recursion(some_words, order, discount):
    x, y = windows(some_words, order)
    grams = Counter(tuple([*row, t][-order:]) for row, t in zip(x.tolist(), y.tolist(), strict=True))
    model = KneserNey(order, 4, discount).fit(x, y)
    for context in all_contexts(order)[:12]:
        row = np.exp(model(context[None]))[0]
        ids = tuple(context.tolist())[len(context) - order + 1 :] if order > 1 else ()
        assert row == pytest.approx([kneser_ney_by_recursion(grams, ids, t, discount) for t in range(4)])


def test_bigram_counts_of_the_corpus_equal_an_independent_count():
    names = data.load_names()
    tokenizer = data.CharTokenizer(names, boundary=".")
    x, y = data.context_windows(names, tokenizer, 1)
    counts = torch.bincount(x[:, 0] * 27 + y, minlength=27 * 27).view(27, 27).double()
    independent = Counter(pair for name in names for pair in zip(f".{name}", f"{name}.", strict=True))
    letters = tokenizer.characters
    assert {
        (letters[i], letters[j]): counts[i, j].item() for i, j in counts.nonzero().tolist()
    } == independent
    model = AdditiveNGram(2, 27, alpha=0.0).fit(x, y)
    assert torch.allclose(model(torch.arange(27)[:, None]).exp(), counts / counts.sum(1, keepdim=True))


@pytest.fixture(scope="module")
def kneser_ney_losses():
    names = data.split(data.load_names())
    tokenizer = data.CharTokenizer(names.train, boundary=".")
    train, dev = (data.context_windows(part, tokenizer, 7) for part in (names.train, names.dev))
    return {order: evaluation.nll(KneserNey(order, 27, 0.9).fit(*train), *dev) for order in range(2, 8)}


def test_order_six_is_within_a_fiftieth_of_a_nat_of_its_best_neighbour(kneser_ney_losses):
    assert kneser_ney_losses[6] <= min(kneser_ney_losses[5], kneser_ney_losses[7]) + 0.02


def test_each_order_up_to_five_is_better_than_the_one_before(kneser_ney_losses):
    losses = [kneser_ney_losses[order] for order in (2, 3, 4, 5)]
    assert losses == sorted(losses, reverse=True)


def test_a_model_is_a_callable_from_windows_to_logits_and_reads_only_its_own_context():
    x, y = windows(["ab", "abc"], 3)
    model = AdditiveNGram(2, 4, 1.0).fit(x, y)
    assert model(x).shape == (len(x), 4)
    assert isinstance(model(x), torch.Tensor)
    assert isinstance(model(x.numpy()), np.ndarray)
    assert torch.equal(model(torch.tensor([[1, 2]])), model(torch.tensor([[3, 2]])))


def test_a_context_never_seen_falls_back_on_the_uniform_and_on_shorter_contexts():
    x, y = windows(["ab"], 3)
    unseen = np.array([[3, 3]])
    assert np.exp(AdditiveNGram(3, 4, 0.1).fit(x, y)(unseen)) == pytest.approx(0.25)
    kneser_ney = KneserNey(3, 4, 0.5).fit(x, y)
    unigram = np.exp(kneser_ney(unseen))[0]
    assert unigram.sum() == pytest.approx(1.0)
    assert unigram[3] < unigram[1]


def test_without_smoothing_an_unseen_pair_has_probability_zero():
    model = AdditiveNGram(2, 4, alpha=0.0).fit(*windows(["ab"], 2))
    assert model(np.array([[1]]))[0, 3] == -np.inf


@pytest.mark.parametrize("model", [AdditiveNGram, KneserNey])
@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda m: m(0, 4), "order of an n-gram model is at least 1"),
        (lambda m: m(14, 27), "lower the order"),
        (lambda m: m(20, np.int64(64)), "lower the order"),
        (lambda m: m(2, 4).fit(np.array([[0.5]]), np.array([1])), "token ids are integers, got float64"),
        (lambda m: m(2, 4)(np.zeros((1, 1), int)), "call fit"),
        (lambda m: m(3, 4).fit(*windows(["ab"], 2)), "block at least 2"),
        (lambda m: m(2, 4).fit(np.array([[9]]), np.array([0])), r"must lie in 0..3, got 9..9"),
        (lambda m: m(2, 4).fit(np.array([[1]]), np.array([-1])), r"must lie in 0..3"),
        (lambda m: m(2, 4).fit(np.zeros((0, 1), int), np.zeros(0, int)), "N at least 1"),
        (lambda m: m(2, 4, -1.0), "got -1.0"),
    ],
)
def test_a_mistake_gets_a_sentence(model, use, message):
    with pytest.raises(ValueError, match=message):
        use(model)


def test_the_estimated_discount_is_that_of_ney_for_each_order():
    x, y = windows(["ab", "ab", "ac", "bc"], 2)
    # bigrams: .a 3, ab 2, b. 2, ac 1, c. 2, .b 1, bc 1 -> n1 = 3, n2 = 3, D = 3 / 9
    probabilities = np.exp(KneserNey(2, 4).fit(x, y)(np.array([[0]])))[0]
    # letters by distinct predecessors: '.' 2, a 1, b 2, c 2 -> n1 = 1, n2 = 3, D = 1 / 7
    lower = [(n - 1 / 7) / 7 + 4 / 7 / 7 / 4 for n in (2, 1, 2, 2)]
    expected = [max(n - 1 / 3, 0) / 4 + 2 / 3 / 4 * p for n, p in zip((0, 3, 1, 0), lower, strict=True)]
    assert probabilities == pytest.approx(expected)


def test_parameters_are_the_distinct_ngrams_of_all_orders():
    x, y = windows(["ab"], 2)  # .a ab b. and, one order down, a b .
    assert AdditiveNGram(2, 4).fit(x, y).n_parameters == 3
    assert KneserNey(2, 4).fit(x, y).n_parameters == 6


def test_a_vocabulary_too_large_for_tables_gets_a_sentence(monkeypatch):
    monkeypatch.setattr("nnhelpers.ngram.LARGEST_TABLE", 10)
    with pytest.raises(ValueError, match="3 contexts times 4 tokens is more than 10 numbers"):
        AdditiveNGram(2, 4).fit(*windows(["ab"], 2))


def test_the_order_does_not_depend_on_how_often_the_model_is_fitted():
    x, y = windows(["ab", "ca", "abc"], 3)
    model = KneserNey(3, 4)
    first = model.fit(x, y)(x)
    assert torch.equal(model.fit(x, y)(x), first)
