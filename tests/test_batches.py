"""Whole words and windows of a text: what a pass shows, what a seed decides, and losses that mean the same."""

from __future__ import annotations

from collections import Counter
from itertools import chain, count, islice, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnhelpers import evaluation
from nnhelpers.batches import (
    context_windows,
    minibatches,
    packed_words,
    text_batches,
    text_windows,
    whole_words,
    word_batches,
)
from nnhelpers.characters import CharTokenizer
from nnhelpers.course import scoreboard
from nnhelpers.fit import batch_loss, fit
from nnhelpers.wavenet import WaveNet

LETTERS = "abcde"
TOKENIZER = CharTokenizer(LETTERS, boundary=".")
WORDS = st.lists(st.text(LETTERS, min_size=0, max_size=9), min_size=1, max_size=30)
SOME = ["abc", "de", "a", "edcba", "bad", "", "cab", "ee", "dada"] * 5


def words_of(x, y):
    """The words in a batch, read off its inputs; its targets have to be those."""
    for row_x, row_y in zip(x.tolist(), y.tolist(), strict=True):
        assert row_x[0] == 0 == row_y[-1]
        assert row_x[1:] == row_y[:-1]
        yield TOKENIZER.decode(row_y[:-1])


# Whole words


@given(words=WORDS)
@settings(deadline=None, max_examples=80)
def test_whole_words_have_the_targets_of_the_windows_in_their_order(words):
    inputs, targets = whole_words(words, TOKENIZER)
    _, expected = context_windows(words, TOKENIZER, 3)
    assert torch.equal(targets[targets >= 0], expected)
    assert inputs.shape == targets.shape == (len(words), max(map(len, words)) + 1)
    for word, row_x, row_y in zip(words, inputs.tolist(), targets.tolist(), strict=True):
        behind = [0] * (inputs.shape[1] - len(word) - 1), [-1] * (inputs.shape[1] - len(word) - 1)
        assert row_x == [0, *TOKENIZER.encode(word), *behind[0]]
        assert row_y == [*TOKENIZER.encode(word), 0, *behind[1]]


@given(words=WORDS, n_positions=st.integers(1, 60), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=80)
def test_a_pass_holds_every_word_once_one_length_a_batch_and_no_padding(words, n_positions, seed):
    inputs, targets = whole_words(words, TOKENIZER)
    stream = word_batches(inputs, targets, n_positions, seed)
    sizes = Counter(len(word) + 1 for word in words)
    per_pass = sum(-(-n // max(1, n_positions // length)) for length, n in sizes.items())
    for _ in range(2):
        seen = []
        for x, y in islice(stream, per_pass):
            assert (y >= 0).all()
            assert x.numel() <= n_positions or len(x) == 1
            seen += words_of(x, y)
        assert sorted(seen) == sorted(words)


def test_batches_of_words_hold_as_many_as_fit_and_only_the_last_of_a_length_holds_fewer():
    inputs, targets = whole_words(["abc"] * 21 + ["a"] * 7, TOKENIZER)
    shapes = Counter(tuple(x.shape) for x, _ in islice(word_batches(inputs, targets, 20), 6))
    assert shapes == {(5, 4): 4, (1, 4): 1, (7, 2): 1}


def test_word_batches_depend_on_the_seed_alone_and_each_pass_is_dealt_anew():
    inputs, targets = whole_words(SOME, TOKENIZER)

    def dealt(seed, n=40):
        return [x.tolist() for x, _ in islice(word_batches(inputs, targets, 12, seed), n)]

    first = dealt(3)
    torch.manual_seed(99)
    assert first == dealt(3) != dealt(4)
    rows = torch.arange(len(inputs))[:, None].expand_as(inputs)  # which word: equal ones are told apart
    per_pass = sum(-(-n // (12 // length)) for length, n in Counter(len(w) + 1 for w in SOME).items())
    stream = word_batches(rows, targets, 12, 3)
    one, two = ([x[:, 0].tolist() for x, _ in islice(stream, per_pass)] for _ in range(2))
    assert sorted(chain(*one)) == sorted(chain(*two)) == list(range(len(SOME)))
    assert one != two
    assert sorted(map(sorted, one)) != sorted(
        map(sorted, two)
    )  # other words together, not just another order
    lengths = [len(SOME[batch[0]]) for batch in one]
    assert lengths != sorted(lengths)


@given(words=WORDS, n_positions=st.integers(1, 60), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=80)
def test_packed_words_stand_whole_end_to_end_and_each_at_most_once_a_pass(words, n_positions, seed):
    inputs, targets = whole_words(words, TOKENIZER)
    n_targets, longest = sum(len(word) + 1 for word in words), max(map(len, words)) + 1
    stream = packed_words(inputs, targets, n_positions, seed)
    for _ in range(2):
        seen, n_seen = [], 0
        while True:
            x, y = next(stream)
            assert x.shape == y.shape
            assert x.shape[0] == 1
            begins = (x[0] == 0).nonzero().flatten().tolist()
            assert begins[0] == 0
            for begin, end in pairwise([*begins, x.shape[1]]):
                seen += words_of(x[:, begin:end], y[:, begin:end])
            n_seen += x.shape[1]
            assert x.shape[1] < n_positions + longest
            if n_seen >= (n_targets // n_positions * n_positions or n_targets):
                break  # what is left does not fill a batch
        assert not Counter(seen) - Counter(words)
    assert next(packed_words(inputs, targets, 10**6))[0].shape == (1, n_targets)


@given(words=WORDS, n_positions=st.integers(1, 60), spare=st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_packed_words_in_rows_are_the_same_words_each_whole_in_one_row(words, n_positions, spare):
    inputs, targets = whole_words(words, TOKENIZER)
    row = inputs.shape[1] + spare
    flat = packed_words(inputs, targets, n_positions, 1)
    in_rows = packed_words(inputs, targets, n_positions, 1, row)
    for (x, y), (x_rows, y_rows) in islice(zip(flat, in_rows, strict=False), 4):
        assert x_rows.shape == y_rows.shape == (len(x_rows), row)
        there = y_rows >= 0
        assert torch.equal(x_rows[there], x[0])
        assert torch.equal(y_rows[there], y[0])
        assert (x_rows[~there] == 0).all()
        assert (x_rows[:, 0] == 0).all()
        ends = there.sum(dim=1)
        assert (y_rows[range(len(y_rows)), ends - 1] == 0).all()  # a row ends with the end of a word
        firsts = [next(words_of(x[None, :n], y[None, :n])) for x, y, n in begin_of(x_rows, y_rows)]
        assert all(n + len(word) + 1 > row for n, word in zip(ends.tolist(), firsts[1:], strict=False))


def begin_of(x_rows, y_rows):
    """Each row with the length of its first word."""
    return [(x, y, y.tolist().index(0) + 1) for x, y in zip(x_rows, y_rows, strict=True)]


def test_packed_words_depend_on_the_seed_alone_and_each_pass_is_dealt_anew():
    inputs, targets = whole_words(SOME, TOKENIZER)

    def dealt(seed, n=12):
        return [x.tolist() for x, _ in islice(packed_words(inputs, targets, 40, seed), n)]

    first = dealt(3)
    torch.manual_seed(99)
    assert first == dealt(3) != dealt(4)
    assert first[0] not in first[1:]


def test_a_sequence_model_is_trained_on_words_of_all_lengths():
    inputs, targets = whole_words(SOME, TOKENIZER)
    model = WaveNet(6, 8, (1, 2), generator=torch.Generator().manual_seed(0))
    log = fit(model, word_batches(inputs, targets, 30), 30, 0.02, val=(inputs, targets), progress=False)
    assert log.val_losses[-1] < log.val_losses[0] - 0.2


# Targets of -1


def bigram_table(seed=0):
    return torch.randn(6, 6, generator=torch.Generator().manual_seed(seed))


@given(words=WORDS, batch_size=st.integers(1, 100))
@settings(deadline=None, max_examples=40)
def test_one_model_has_one_loss_on_whole_words_and_on_windows(words, batch_size):
    table = bigram_table()
    windows, window_targets = context_windows(words, TOKENIZER, 2)
    whole, whole_targets = whole_words(words, TOKENIZER)
    expected = evaluation.token_nll(lambda x: table[x[:, -1]], windows, window_targets)
    losses = evaluation.token_nll(lambda ids: table[ids], whole, whole_targets, batch_size)
    assert torch.equal(losses.isnan(), whole_targets == -1)
    torch.testing.assert_close(losses[whole_targets >= 0], expected, rtol=1e-9, atol=1e-9)
    nats = evaluation.nll(lambda ids: table[ids], whole, whole_targets, batch_size)
    assert nats == pytest.approx(expected.mean().item(), abs=1e-9)
    assert batch_loss(lambda ids: table[ids], whole, whole_targets).item() == pytest.approx(nats, abs=1e-5)


def test_one_model_has_one_score_on_whole_words_and_on_windows():
    table = bigram_table()
    of_windows = scoreboard.score_words(
        "m", lambda x: table[x[:, -1]], *context_windows(SOME, TOKENIZER, 2), seconds=1.0, n_parameters=36
    )
    of_words = scoreboard.score_words(
        "m", lambda ids: table[ids], *whole_words(SOME, TOKENIZER), seconds=1.0, n_parameters=36
    )
    assert of_words.nats == pytest.approx(of_windows.nats, abs=1e-9)
    assert of_words.standard_error == pytest.approx(of_windows.standard_error, abs=1e-9)


def test_a_target_of_minus_1_adds_nothing_to_the_gradient():
    table = bigram_table().requires_grad_()
    whole, targets = whole_words(["ab", "edcba"], TOKENIZER)
    batch_loss(lambda ids: table[ids], whole, targets).backward()
    with_padding = table.grad.clone()
    table.grad = None
    windows, window_targets = context_windows(["ab", "edcba"], TOKENIZER, 1)
    batch_loss(lambda x: table[x[:, -1]], windows, window_targets).backward()
    torch.testing.assert_close(with_padding, table.grad)


@pytest.mark.parametrize("bad", [-2, 6, -100])
def test_a_target_below_minus_1_or_outside_the_vocabulary_is_refused(bad):
    ids, targets = torch.zeros(2, 3).long(), torch.tensor([[0, 1, -1], [0, bad, -1]])
    for use in (evaluation.nll, evaluation.token_nll, batch_loss):
        with pytest.raises(ValueError, match=r"targets must lie in 0\.\.5, one for each logit"):
            use(lambda ids: bigram_table()[ids], ids, targets)


# A text


@given(n=st.integers(2, 60), block_size=st.integers(1, 20))
@settings(deadline=None)
def test_windows_of_a_text_have_every_token_but_the_first_as_a_target_once(n, block_size):
    ids = torch.arange(n)
    inputs, targets = text_windows(ids, block_size)
    assert inputs.shape == targets.shape == (-(-(n - 1) // block_size), block_size)
    there = targets >= 0
    assert targets[there].tolist() == list(range(1, n))
    assert torch.equal(inputs[there], targets[there] - 1)
    assert (inputs[~there] == 0).all()
    assert (targets[~there] == -1).all()
    assert not there.diff(dim=1).any() or (~there).sum() < block_size  # only behind the end
    assert inputs.dtype == targets.dtype == torch.int64


def test_the_loss_of_a_full_pass_is_the_mean_over_all_tokens_but_the_first():
    table = bigram_table()
    ids = torch.randint(6, (101,), generator=torch.Generator().manual_seed(1))
    expected = torch.nn.functional.cross_entropy(table[ids[:-1]].double(), ids[1:]).item()
    for block_size in (1, 7, 100, 300):
        nats = evaluation.nll(lambda ids: table[ids], *text_windows(ids, block_size))
        assert nats == pytest.approx(expected, abs=1e-9)


@given(
    n=st.integers(2, 60),
    block_size=st.integers(1, 20),
    batch_size=st.integers(1, 7),
    start=st.integers(0, 30),
)
@settings(deadline=None)
def test_a_batch_of_a_text_is_a_function_of_the_seed_and_its_number(n, block_size, batch_size, start):
    if n <= block_size:
        n += block_size
    ids = torch.arange(n)
    late = list(islice(text_batches(ids, block_size, batch_size, seed=5, start=start), 3))
    all_of_them = list(islice(text_batches(ids, block_size, batch_size, seed=5), start + 3))
    for (x, y), (again_x, again_y) in zip(late, all_of_them[start:], strict=True):
        assert torch.equal(x, again_x)
        assert torch.equal(y, again_y)
        assert x.shape == y.shape == (batch_size, block_size)
        assert torch.equal(y, x + 1)  # the text counts up: the next token is one more
        assert x.min() >= 0
        assert y.max() < n


def test_other_seeds_and_numbers_give_other_batches_and_the_global_generator_does_not_matter():
    ids = torch.arange(10_000)

    def begins(seed, start=0):
        return [x[:, 0].tolist() for x, _ in islice(text_batches(ids, 4, 8, seed, start), 5)]

    first = begins(1)
    torch.manual_seed(99)
    assert begins(1) == first
    assert len({str(batch) for seed in range(20) for batch in begins(seed)}) == 100


def test_windows_begin_at_every_place_of_a_text_equally_often():
    places = Counter()
    for x, y in islice(text_batches(torch.arange(13), 3, 1000, seed=0), 10):
        places.update(x[:, 0].tolist())
        assert y[:, -1].max() == 12  # the last token is a target as well
    assert sorted(places) == list(range(10))
    assert all(900 < n < 1100 for n in places.values())


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32, np.int64])
def test_a_text_may_stand_in_a_memory_mapped_file(tmp_path, dtype):
    ids = np.arange(40_000).astype(dtype)
    ids.tofile(tmp_path / "ids.bin")
    mapped = np.memmap(tmp_path / "ids.bin", dtype=dtype, mode="r")
    pairs = zip(text_batches(mapped, 16, 8), text_batches(torch.arange(40_000), 16, 8), strict=False)
    for (x, y), (expected_x, expected_y) in islice(pairs, 5):
        assert torch.equal(x, expected_x)
        assert torch.equal(y, expected_y)
        assert x.dtype == y.dtype == torch.int64


def test_a_batch_is_a_copy_of_the_text():
    ids = torch.arange(20)
    x, y = next(text_batches(ids, 4, 2))
    x.zero_()
    y.zero_()
    assert ids.tolist() == list(range(20))


def test_batches_never_end():
    inputs, targets = whole_words(["ab"], TOKENIZER)
    for stream in (
        word_batches(inputs, targets, 1),
        text_batches(torch.arange(5), 4, 1),
        minibatches(inputs, targets, 1),
    ):
        assert sum(1 for _ in zip(count(), islice(stream, 50), strict=False)) == 50


WHOLE = whole_words(["ab", "c"], TOKENIZER)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: word_batches(WHOLE[0], WHOLE[1][:1], 9), r"\(W, T\) both; got shapes \(2, 3\) and \(1, 3\)"),
        (lambda: word_batches(WHOLE[0][0], WHOLE[1][0], 9), r"got shapes \(3,\) and \(3,\)"),
        (lambda: word_batches(WHOLE[0][:0], WHOLE[1][:0], 9), r"got shapes \(0, 3\)"),
        (
            lambda: packed_words(*WHOLE, 9, row_length=2),
            "a row of 2 tokens does not hold the longest word, of 3",
        ),
        (lambda: packed_words(*WHOLE, 0), "a batch holds at least one token, got n_tokens=0"),
        (lambda: packed_words(WHOLE[0], WHOLE[1][:1], 9), r"got shapes \(2, 3\) and \(1, 3\)"),
        (lambda: word_batches(*WHOLE, 0), "a batch holds at least one token, got n_tokens=0"),
        (
            lambda: word_batches(torch.zeros(2, 3).long(), torch.tensor([[1, 0, -1], [-1, -1, -1]]), 9),
            "at the start of its row, at least one, and -1 only after them",
        ),
        (
            lambda: word_batches(torch.zeros(1, 3).long(), torch.tensor([[1, -1, 0]]), 9),
            "-1 only after them",
        ),
        (
            lambda: text_windows(torch.arange(1), 3),
            r"at least two ids \(n,\).* got shape \(1,\) and block_size=3",
        ),
        (lambda: text_windows(torch.zeros(3, 3), 3), r"got shape \(3, 3\)"),
        (lambda: text_windows(torch.arange(9), 0), "block_size=0"),
        (lambda: text_batches(torch.arange(4), 4, 1), "do not fit a text of 4 tokens.*use a longer text"),
        (lambda: text_batches(torch.arange(4), 0, 1), "block_size=0"),
        (lambda: text_batches(torch.arange(4), 2, 0), "or batch_size=0 is below 1"),
    ],
)
def test_a_mistake_gets_a_sentence(use, message):
    with pytest.raises(ValueError, match=message):
        use()


def test_inputs_and_targets_of_a_text_batch_are_tensors_of_their_own():
    x, y = next(text_batches(torch.arange(30), block_size=8, batch_size=1))
    before = x.clone()
    y[:] = -1
    assert torch.equal(x, before)
