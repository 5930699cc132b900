"""Counting models: against slow counts by dictionary, and the laws of probability for every context."""

import random
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnhelpers import batches, characters, data, evaluation, sampling
from nnhelpers.ngram import AdditiveNGram, KneserNey, ModifiedKneserNey, sliding_windows

TOKENIZER = characters.CharTokenizer("abc", boundary=".")


def random_words(n_words, seed):
    draw = random.Random(seed)
    return ["".join(draw.choices("abc", weights=(5, 2, 1), k=draw.randint(1, 6))) for _ in range(n_words)]


few_words = st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=12)
many_words = st.builds(random_words, st.integers(20, 150), st.integers(0, 2**32))
words = few_words | many_words


def windows(some_words, order):
    return batches.context_windows(some_words, TOKENIZER, max(order - 1, 1))


def all_contexts(order):
    grids = np.meshgrid(*[np.arange(4)] * max(order - 1, 1), indexing="ij")
    return np.stack([g.ravel() for g in grids], axis=1)


def last_characters(context, order):
    """The window's characters that a model of this order reads."""
    text = TOKENIZER.decode(context)
    return text[len(text) - order + 1 :]


# The laws of probability


@settings(max_examples=150, deadline=None)
@given(words, st.integers(1, 5), st.sampled_from([None, 0.3, 0.9, "modified"]))
def test_kneser_ney_gives_every_token_a_probability_above_zero_and_they_sum_to_one(words, order, discount):
    model = ModifiedKneserNey(order, 4) if discount == "modified" else KneserNey(order, 4, discount)
    probabilities = np.exp(model.fit(*windows(words, order))(all_contexts(order)))
    assert np.allclose(probabilities.sum(1), 1.0, atol=1e-12)
    assert (probabilities > 0).all()


@settings(max_examples=100, deadline=None)
@given(words, st.integers(1, 4), st.sampled_from([0.0, 0.01, 1.0]))
def test_additive_smoothing_gives_probabilities_that_sum_to_one_for_every_context(words, order, alpha):
    model = AdditiveNGram(order, 4, alpha).fit(*windows(words, order))
    assert np.allclose(np.exp(model(all_contexts(order))).sum(1), 1.0, atol=1e-12)


# Against slow counts by dictionary


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
def test_additive_counts_equal_a_count_by_dictionary(words, order):
    model = AdditiveNGram(order, 4, 0.5).fit(*windows(words, order))
    for context in all_contexts(order)[:16]:
        row = np.exp(model(context[None]))[0]
        text = TOKENIZER.decode(context)
        expected = [additive_by_dictionary(words, order, 0.5, text, c) for c in ".abc"]
        assert row == pytest.approx(expected)


def kneser_ney_counts(some_words, order):
    """{k: Counter of the n-grams of order k}: how often for the highest order, after how many tokens for the others."""
    occurrences = {k: Counter() for k in range(1, order + 1)}
    for word in some_words:
        padded = "." * (order - 1) + word + "."
        for end in range(order, len(padded) + 1):
            for k in occurrences:
                occurrences[k][padded[end - k : end]] += 1
    counts = {order: occurrences[order]}
    for k in range(1, order):
        before = defaultdict(set)
        for ngram in occurrences[k + 1]:
            before[ngram[1:]].add(ngram[0])
        counts[k] = Counter({ngram: len(tokens) for ngram, tokens in before.items()})
    return counts


def ney_discount(counts):
    n = Counter(counts.values())
    estimate = n[1] / (n[1] + 2 * n[2]) if n[1] else 0.0
    return min(max(estimate, 0.05), 0.95)


def discounts_by_the_paper(counts):
    """D(0), D(1), D(2), D(3 or more) of Chen and Goodman (1998), or four times the same where they do not exist."""
    n = Counter(counts.values())
    if n[1] and n[2] and n[3] and n[4]:
        y = n[1] / (n[1] + 2 * n[2])
        d1, d2, d3 = 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]
        if d1 > 0 and d2 > 0 and d3 > 0:
            return [0, d1, d2, d3]
    return [0] + 3 * [ney_discount(counts)]


def probability_by_the_paper(counts, discounts, context, token):
    """Equation by equation, for one token after one context."""
    order = len(context) + 1
    lower = 1 / 4 if order == 1 else probability_by_the_paper(counts, discounts, context[1:], token)
    after = {ngram[-1]: count for ngram, count in counts[order].items() if ngram[:-1] == context}
    if not after:
        return lower
    d = discounts[order]
    n1 = sum(count == 1 for count in after.values())
    n2 = sum(count == 2 for count in after.values())
    n3_or_more = sum(count >= 3 for count in after.values())
    gamma = (d[1] * n1 + d[2] * n2 + d[3] * n3_or_more) / sum(after.values())
    count = after.get(token, 0)
    return (count - d[min(count, 3)]) / sum(after.values()) + gamma * lower


@settings(max_examples=100, deadline=None)
@given(
    words, st.integers(1, 5), st.sampled_from(["modified", None, 0.4, 0.8]), st.randoms(use_true_random=False)
)
def test_kneser_ney_equals_the_formulas_of_the_paper(words, order, discount, chance):
    counts = kneser_ney_counts(words, order)
    if discount == "modified":
        model = ModifiedKneserNey(order, 4)
        discounts = {k: discounts_by_the_paper(counts[k]) for k in counts}
    else:
        model = KneserNey(order, 4, discount)
        discounts = {k: [0] + 3 * [discount or ney_discount(counts[k])] for k in counts}
    model.fit(*windows(words, order))
    contexts = all_contexts(order)
    for context in contexts[chance.choices(range(len(contexts)), k=10)]:
        text = last_characters(context, order)
        expected = [probability_by_the_paper(counts, discounts, text, token) for token in ".abc"]
        assert np.exp(model(context[None]))[0] == pytest.approx(expected)


def test_bigram_counts_of_the_corpus_equal_an_independent_count():
    names = data.load_names()
    tokenizer = characters.CharTokenizer(names, boundary=".")
    x, y = batches.context_windows(names, tokenizer, 1)
    counts = torch.bincount(x[:, 0] * 27 + y, minlength=27 * 27).view(27, 27).double()
    independent = Counter(pair for name in names for pair in zip(f".{name}", f"{name}.", strict=True))
    letters = tokenizer.characters
    assert {
        (letters[i], letters[j]): counts[i, j].item() for i, j in counts.nonzero().tolist()
    } == independent
    model = AdditiveNGram(2, 27, alpha=0.0).fit(x, y)
    assert torch.allclose(model(torch.arange(27)[:, None]).exp(), counts / counts.sum(1, keepdim=True))


# The discounts


def corpus_with(counts_of_counts):
    """Windows of no tokens, and targets of which `counts_of_counts[k]` occur k times."""
    times = [k for k, n in counts_of_counts.items() for _ in range(n)]
    targets = np.repeat(np.arange(len(times)), times)
    return np.zeros((len(targets), 0), dtype=np.int64), targets


def test_the_three_discounts_are_those_of_chen_and_goodman():
    model = ModifiedKneserNey(1, 18).fit(*corpus_with({1: 10, 2: 5, 3: 2, 4: 1}))
    # Y = 10 / 20, D1 = 1 - 2 Y 5 / 10, D2 = 2 - 3 Y 2 / 5, D3+ = 3 - 4 Y 1 / 2
    assert model.discounts[0] == pytest.approx([0.5, 1.4, 2.0])


@pytest.mark.parametrize(
    ("counts_of_counts", "discount"),
    [
        # one of n1..n4 is 0
        ({2: 5, 3: 2, 4: 1}, 0.05),
        ({1: 10, 3: 2, 4: 1}, 0.95),
        ({1: 10, 2: 5, 4: 1}, 0.5),
        ({1: 10, 2: 5, 3: 2}, 0.5),
        ({9: 3}, 0.05),
        # D2 = 2 - 3 Y 8 / 5 < 0
        ({1: 10, 2: 5, 3: 8, 4: 1}, 0.5),
        # D3+ = 3 - 4 Y 4 / 2 < 0
        ({1: 10, 2: 5, 3: 2, 4: 4}, 0.5),
        # D3+ = 3 - 4 Y 3 / 2 = 0
        ({1: 10, 2: 5, 3: 2, 4: 3}, 0.5),
    ],
)
def test_where_three_discounts_do_not_exist_the_single_one_stands_for_them(counts_of_counts, discount):
    corpus = corpus_with(counts_of_counts)
    vocab_size = sum(counts_of_counts.values()) + 1
    modified = ModifiedKneserNey(1, vocab_size).fit(*corpus)
    assert modified.discounts[0] == pytest.approx([discount] * 3)
    nothing = np.zeros((1, 0), dtype=np.int64)
    assert np.array_equal(modified(nothing), KneserNey(1, vocab_size).fit(*corpus)(nothing))


def test_every_token_the_same_is_a_corpus_too():
    inputs, targets = np.zeros((3, 2), dtype=np.int64), np.zeros(3, dtype=np.int64)
    for model in (KneserNey(3, 4), ModifiedKneserNey(3, 4)):
        probabilities = np.exp(model.fit(inputs, targets)(inputs[:1]))[0]
        assert probabilities.sum() == pytest.approx(1.0)
        assert (probabilities > 0).all()


def test_the_estimated_discount_is_that_of_ney_for_each_order():
    x, y = windows(["ab", "ab", "ac", "bc"], 2)
    # bigrams: .a 3, ab 2, b. 2, ac 1, c. 2, .b 1, bc 1 -> n1 = 3, n2 = 3, D = 3 / 9
    probabilities = np.exp(KneserNey(2, 4).fit(x, y)(np.array([[0]])))[0]
    # letters by distinct predecessors: '.' 2, a 1, b 2, c 2 -> n1 = 1, n2 = 3, D = 1 / 7
    lower = [(n - 1 / 7) / 7 + 4 / 7 / 7 / 4 for n in (2, 1, 2, 2)]
    expected = [max(n - 1 / 3, 0) / 4 + 2 / 3 / 4 * p for n, p in zip((0, 3, 1, 0), lower, strict=True)]
    assert probabilities == pytest.approx(expected)


# On the names


@pytest.fixture(scope="module")
def names():
    """The windows of train, dev and test, six tokens wide."""
    parts = data.split(data.load_names(), seed=42)
    tokenizer = characters.CharTokenizer(parts.train, boundary=".")
    return [batches.context_windows(part, tokenizer, 6) for part in parts]


@pytest.fixture(scope="module")
def kneser_ney_losses(names):
    train, dev, _ = names
    return {order: evaluation.nll(KneserNey(order, 27, 0.9).fit(*train), *dev) for order in range(2, 8)}


def test_order_six_is_within_a_fiftieth_of_a_nat_of_its_best_neighbour(kneser_ney_losses):
    assert kneser_ney_losses[6] <= min(kneser_ney_losses[5], kneser_ney_losses[7]) + 0.02


def test_each_order_up_to_five_is_better_than_the_one_before(kneser_ney_losses):
    losses = [kneser_ney_losses[order] for order in (2, 3, 4, 5)]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize(
    ("model", "dev_loss", "test_loss"),
    [
        (ModifiedKneserNey(5, 27), 2.0124, 2.0091),
        (ModifiedKneserNey(6, 27), 2.0077, 2.0064),
        (ModifiedKneserNey(7, 27), 2.0154, 2.0153),
        (KneserNey(6, 27, 0.9), 2.0128, 2.0123),
    ],
)
def test_the_losses_on_the_names_are_those_of_an_independent_program(names, model, dev_loss, test_loss):
    train, dev, test = names
    model.fit(*train)
    assert evaluation.nll(model, *dev) == pytest.approx(dev_loss, abs=1e-4)
    assert evaluation.nll(model, *test) == pytest.approx(test_loss, abs=1e-4)


def test_on_the_names_all_orders_but_the_lowest_have_three_discounts(names):
    model = ModifiedKneserNey(6, 27).fit(*names[0])
    for d1, d2, d3 in model.discounts[1:]:
        assert 0 < d1 < d2 < d3 < 3
    # each of the 27 symbols was seen after more than four others
    assert len(set(model.discounts[0])) == 1


# How the models are used


@pytest.mark.parametrize("kind", [AdditiveNGram, KneserNey, ModifiedKneserNey])
def test_a_model_is_a_callable_from_windows_to_logits_and_reads_only_its_own_context(kind):
    x, y = windows(["ab", "abc"], 3)
    model = kind(2, 4).fit(x, y)
    assert model(x).shape == (len(x), 4)
    assert isinstance(model(x), torch.Tensor)
    assert isinstance(model(x.numpy()), np.ndarray)
    assert np.array_equal(model(x.tolist()), model(x).numpy())
    assert torch.equal(model(torch.tensor([[1, 2]])), model(torch.tensor([[3, 2]])))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_ids_may_be_integers_of_any_size(dtype):
    x, y = (part.numpy() for part in windows(["ab", "abc", "ca"], 3))
    expected = KneserNey(3, 4).fit(x, y)(x)
    assert np.array_equal(KneserNey(3, 4).fit(x.astype(dtype), y.astype(dtype))(x.astype(dtype)), expected)


@pytest.mark.parametrize("kind", [AdditiveNGram, KneserNey, ModifiedKneserNey])
def test_order_one_takes_windows_of_any_width(kind):
    _, y = windows(["ab", "abc"], 2)
    expected = kind(1, 4).fit(*windows(["ab", "abc"], 2))(np.zeros((1, 1), dtype=int))
    for width in (0, 1, 5):
        model = kind(1, 4).fit(torch.zeros((len(y), width), dtype=torch.int64), y)
        assert np.array_equal(model(np.ones((1, width), dtype=int)), expected)
    assert np.array_equal(kind(1, 4).fit([[]] * len(y), y)([[]]), expected)


def test_block_size_is_how_many_tokens_a_model_reads_at_least_one():
    assert [KneserNey(order, 4).block_size for order in (1, 2, 6)] == [1, 1, 5]
    model = ModifiedKneserNey(3, 4).fit(*windows(["ab", "ab", "abc"], 3))
    ids = torch.zeros((2, 2), dtype=torch.int64)
    assert len(sampling.generate(model, ids, 5)) == 2


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


def test_parameters_are_the_distinct_ngrams_of_all_orders():
    # .a ab b. and, one order down, a b .
    x, y = windows(["ab"], 2)
    assert AdditiveNGram(2, 4).fit(x, y).n_parameters == 3
    assert KneserNey(2, 4).fit(x, y).n_parameters == 6
    assert ModifiedKneserNey(2, 4).fit(x, y).n_parameters == 6


def test_the_order_does_not_depend_on_how_often_the_model_is_fitted():
    x, y = windows(["ab", "ca", "abc"], 3)
    model = KneserNey(3, 4)
    first = model.fit(x, y)(x)
    assert torch.equal(model.fit(x, y)(x), first)


def test_a_model_shows_what_it_is_and_how_much_it_has_counted():
    assert repr(KneserNey(2, 4, 0.9)) == "KneserNey(order=2, vocab_size=4, discount=0.9): nothing counted yet"
    x, y = windows(["ab"], 2)
    assert repr(AdditiveNGram(2, 4, 0.1).fit(x, y)) == (
        "AdditiveNGram(order=2, vocab_size=4, alpha=0.1): 3 distinct n-grams counted"
    )
    assert repr(ModifiedKneserNey(2, 4).fit(x, y)) == (
        "ModifiedKneserNey(order=2, vocab_size=4): 6 distinct n-grams counted"
    )


# A running text


def test_sliding_windows_are_the_tokens_of_a_text_with_those_before_them():
    inputs, targets = sliding_windows([3, 1, 4, 1, 5], 2)
    assert inputs.tolist() == [[3, 1], [1, 4], [4, 1]]
    assert targets.tolist() == [4, 1, 5]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.data())
def test_sliding_windows_of_a_tensor_and_of_an_array_are_the_same(ids, more):
    block_size = more.draw(st.integers(0, len(ids) - 1))
    inputs, targets = sliding_windows(torch.tensor(ids), block_size)
    assert isinstance(inputs, torch.Tensor)
    assert isinstance(targets, torch.Tensor)
    assert inputs.shape == (len(ids) - block_size, block_size)
    arrays = sliding_windows(np.array(ids), block_size)
    assert np.array_equal(arrays[0], inputs.numpy())
    assert np.array_equal(arrays[1], targets.numpy())


def test_a_running_text_is_counted_by_sliding_windows():
    ids = torch.tensor(TOKENIZER.encode("abcabcabcabb"))
    model = ModifiedKneserNey(3, 4).fit(*sliding_windows(ids, 2))
    assert model(ids[None, :2]).argmax() == TOKENIZER.encode("c")[0]


# Mistakes


@pytest.mark.parametrize("model", [AdditiveNGram, KneserNey, ModifiedKneserNey])
@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda m: m(0, 4), "order of an n-gram model is at least 1"),
        (lambda m: m(2, 0), "at least one token, got vocab_size=0"),
        (lambda m: m(14, 27), "lower the order"),
        (lambda m: m(20, np.int64(64)), "lower the order"),
        (lambda m: m(2, 4).fit(np.array([[0.5]]), np.array([1])), "token ids are integers, got float64"),
        (lambda m: m(2, 4).fit(["a", "b"], ["b", "a"]), "encode the text with a tokenizer first"),
        (lambda m: m(2, 4).fit([[1, 2], [1]], [1, 1]), "rows differ in length"),
        (lambda m: m(2, 4)(np.zeros((1, 1), int)), "call fit"),
        (lambda m: m(3, 4).fit(*windows(["ab"], 2)), "block at least 2"),
        (lambda m: m(2, 4).fit(np.array([1, 2, 3]), np.array([2, 3, 1])), r"got shape \(3,\)"),
        (lambda m: m(2, 4).fit(np.array([[9]]), np.array([0])), r"must lie in 0..3, got 9..9"),
        (lambda m: m(2, 4).fit(np.array([[1]]), np.array([-1])), r"must lie in 0..3"),
        (lambda m: m(2, 4).fit(np.zeros((0, 1), int), np.zeros(0, int)), "N at least 1"),
        (lambda m: m(2, 4).fit(np.array([[1], [2]]), np.array([1])), r"got \(2, 1\) and \(1,\)"),
        (
            lambda m: m(2, 4).fit(*batches.text_windows(torch.arange(4), 2)),
            "a running text with ngram.sliding",
        ),
        (lambda m: m(2, 4).fit(*batches.whole_words(["ab"], TOKENIZER)), "cut words with context_windows"),
    ],
)
def test_a_mistake_gets_a_sentence(model, use, message):
    with pytest.raises(ValueError, match=message):
        use(model)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: AdditiveNGram(2, 4, -1.0), "0 or more, got -1.0"),
        (lambda: KneserNey(2, 4, -1.0), "between 0 and 1, got -1.0"),
        (lambda: sliding_windows([1, 2, 3], 3), r"block_size=3 and the token after it do not fit .* \(3,\)"),
        (lambda: sliding_windows([1, 2, 3], -1), "block_size=-1"),
        (lambda: sliding_windows([[1, 2, 3]], 1), r"one row of ids \(n,\)"),
    ],
)
def test_a_wrong_number_gets_a_sentence(use, message):
    with pytest.raises(ValueError, match=message):
        use()


def test_a_vocabulary_too_large_for_tables_gets_a_sentence():
    ids = np.arange(20_000)
    with pytest.raises(ValueError, match="20,000 contexts times 20,000 tokens is more than"):
        AdditiveNGram(2, 20_000).fit(ids[:, None], ids)


def test_a_fit_that_fails_leaves_the_model_as_it_was():
    x, y = windows(["ab", "ca"], 2)
    model = KneserNey(2, 4).fit(x, y)
    before = model(x)
    with pytest.raises(ValueError, match="must lie in"):
        model.fit(x + 9, y)
    assert torch.equal(model(x), before)
