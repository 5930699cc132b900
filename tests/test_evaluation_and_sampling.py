"""Losses, their standard errors, and draws."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracles import seeded

from nnhelpers import batches, characters, evaluation, sampling
from nnhelpers.bpe import BPETokenizer
from nnhelpers.course import scoreboard
from nnhelpers.gpt import GPT, GPTConfig
from nnhelpers.wavenet import WaveNet

ONE, NONE = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(0, 1, dtype=torch.int64)


def table_model(logits):
    """A window model that looks up a row of `logits` (V, V) by the last token."""
    return lambda x: logits[x[:, -1]]


@pytest.fixture
def bigram():
    return table_model(torch.randn(5, 5, generator=torch.Generator().manual_seed(0)))


def test_nll_is_the_mean_cross_entropy_whatever_the_batch_size(bigram):
    x, y = torch.randint(5, (103, 3)), torch.randint(5, (103,))
    expected = F.cross_entropy(bigram(x).double(), y).item()
    for batch_size in (1, 10, 1000):
        assert evaluation.nll(bigram, x, y, batch_size) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("dtype", "error"),
    # half precision has three digits, float32 seven, float64 sixteen: what is lost is lost before the loss
    [(torch.bfloat16, 2e-6), (torch.float16, 2e-6), (torch.float32, 2e-6), (torch.float64, 1e-13)],
)
def test_losses_are_those_of_the_logits_as_they_are_and_their_mean_is_taken_in_float64(dtype, error):
    table = (4 * torch.randn(50, 3000, generator=seeded(), dtype=torch.float64)).to(dtype)
    x = torch.arange(50)[:, None]
    y = torch.randint(3000, (50,), generator=seeded(1))
    exact = -torch.log_softmax(table.double(), dim=-1)[torch.arange(50), y]
    losses = evaluation.token_nll(lambda x: table[x[:, 0]], x, y, 7)
    assert losses.dtype == torch.float64
    torch.testing.assert_close(losses, exact, rtol=error, atol=error)
    assert evaluation.nll(lambda x: table[x[:, 0]], x, y, 7) == losses.mean().item()


def test_nll_takes_sequence_models_too():
    weights = torch.randn(5, 5)
    x, y = torch.randint(5, (7, 11)), torch.randint(5, (7, 11))
    expected = F.cross_entropy(weights[x].flatten(0, 1).double(), y.flatten()).item()
    assert evaluation.nll(lambda ids: weights[ids], x, y, 3) == pytest.approx(expected, abs=1e-6)
    assert evaluation.token_nll(lambda ids: weights[ids], x, y).shape == (7, 11)


def test_evaluation_happens_in_eval_mode_without_gradients_and_restores_the_mode():
    model = torch.nn.Sequential(torch.nn.Embedding(5, 5), torch.nn.Flatten(), torch.nn.Dropout(0.5))
    seen = []
    model.register_forward_hook(lambda module, *_: seen.append((module.training, torch.is_grad_enabled())))
    x, y = torch.randint(5, (9, 1)), torch.randint(5, (9,))
    for training in (True, False):
        model.train(training)
        evaluation.nll(model, x, y)
        sampling.generate(model, x, 2, block_size=1)
        assert model.training is training
    assert set(seen) == {(False, False)}


def test_every_part_of_a_module_gets_its_own_mode_back():
    model = torch.nn.Sequential(torch.nn.Embedding(5, 5), torch.nn.Flatten(), torch.nn.Dropout(0.5))
    model[2].eval()
    x, y = torch.randint(5, (9, 1)), torch.randint(5, (9,))
    evaluation.nll(model, x, y)
    assert [part.training for part in model.modules()] == [True, True, True, False]
    model.eval()
    model[2].train()
    assert evaluation.nll(model, x, y) == evaluation.nll(model, x, y)  # no dropout inside
    assert [part.training for part in model.modules()] == [False, False, False, True]


def test_a_hand_written_model_with_modes_is_evaluated_in_eval_mode_and_restored():
    class Model:
        training = True
        seen = ()

        def eval(self):
            self.training = False

        def train(self):
            self.training = True

        def __call__(self, x):
            self.seen += (self.training,)
            return torch.zeros(len(x), 5)

    model = Model()
    evaluation.nll(model, ONE, ONE[:, 0])
    assert (model.seen, model.training) == ((False,), True)
    model.eval()
    evaluation.nll(model, ONE, ONE[:, 0])
    assert (model.seen, model.training) == ((False, False), False)


def test_the_mode_is_restored_even_when_the_model_fails():
    model = torch.nn.Linear(2, 2)
    with pytest.raises(RuntimeError):
        evaluation.nll(model, torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64))
    assert model.training


def test_the_batch_size_counts_targets_not_rows():
    widths = []

    def model(ids):
        widths.append(ids.numel())
        return torch.zeros(*ids.shape, 5)

    ids = torch.zeros(10, 8, dtype=torch.int64)
    evaluation.nll(model, ids, ids, batch_size=32)
    assert max(widths) == 32
    assert sum(widths) == 80


def test_a_probability_of_zero_costs_infinity():
    model = table_model(torch.tensor([[0.0, -math.inf]]))
    assert evaluation.nll(model, torch.tensor([[0]]), torch.tensor([1])) == math.inf


def test_word_ids_count_words_and_each_end_belongs_to_its_word():
    assert evaluation.word_index(torch.tensor([3, 1, 0, 0, 2, 0])).tolist() == [0, 0, 0, 1, 2, 2]


def test_the_bootstrap_agrees_with_the_formula_for_independent_tokens():
    losses = torch.rand(2000, generator=torch.Generator().manual_seed(1))
    formula = losses.std().item() / math.sqrt(len(losses))
    assert evaluation.bootstrap_se(losses) == pytest.approx(formula, rel=0.1)


def test_tokens_that_repeat_within_a_word_are_not_counted_as_independent():
    word_losses = torch.rand(400, generator=torch.Generator().manual_seed(2))
    losses, groups = word_losses.repeat_interleave(9), torch.arange(400).repeat_interleave(9)
    formula = word_losses.std().item() / math.sqrt(400)
    assert evaluation.bootstrap_se(losses, groups) == pytest.approx(formula, rel=0.1)
    assert evaluation.bootstrap_se(losses) < 0.5 * formula


def test_the_bootstrap_draws_whole_words_and_counts_their_tokens():
    """Against the formula for a ratio of sums, with words of unequal length whose loss depends on it."""
    generator = torch.Generator().manual_seed(3)
    lengths = (torch.rand(500, generator=generator) * 9 + 1).long()
    word_losses = torch.rand(500, generator=generator) + lengths / 5
    losses, groups = word_losses.repeat_interleave(lengths), torch.arange(500).repeat_interleave(lengths)
    sums, counts = word_losses * lengths, lengths.double()
    residuals = sums - sums.sum() / counts.sum() * counts
    formula = (residuals.square().sum() * 500 / 499).sqrt() / counts.sum()
    assert evaluation.bootstrap_se(losses, groups) == pytest.approx(formula.item(), rel=0.1)


def test_rows_of_a_sequence_model_are_drawn_whole():
    rows = torch.rand(300, 1, generator=torch.Generator().manual_seed(4)).expand(300, 7)
    assert evaluation.bootstrap_se(rows) == pytest.approx(evaluation.bootstrap_se(rows[:, 0]), rel=1e-9)


def test_a_score_is_the_mean_over_symbols_with_the_error_over_words():
    words = ["ab", "b", "abb", "a", "ba"] * 20
    tokenizer = characters.CharTokenizer(words, boundary=".")
    x, y = batches.context_windows(words, tokenizer, 1)
    model = table_model(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))
    score = scoreboard.score_words("m", model, x, y, seconds=1.0, n_parameters=9)
    losses = evaluation.token_nll(model, x, y)
    assert (score.nats, score.n_parameters) == (losses.mean().item(), 9)
    assert score.standard_error == evaluation.bootstrap_se(losses, evaluation.word_index(y))
    assert score.standard_error != pytest.approx(evaluation.bootstrap_se(losses), rel=0.02)


def test_the_bootstrap_gives_the_same_number_for_the_same_seed():
    losses = torch.rand(50)
    assert evaluation.bootstrap_se(losses, seed=3) == evaluation.bootstrap_se(losses, seed=3)


@given(n=st.integers(2, 60), block=st.integers(1, 9), batch=st.integers(1, 30), n_parts=st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_a_full_pass_counts_every_token_once_however_it_is_shared(n, block, batch, n_parts):
    ids = np.arange(n).astype(np.uint16)
    counted = []

    def uneven(x):  # the loss of a target is known, and that of every other one differs
        counted.append(x)
        return torch.log_softmax(x[..., None] * 0.01 * torch.arange(float(n)), dim=-1)

    parts = [evaluation.total_nll(uneven, ids, block, batch, (i, n_parts)) for i in range(n_parts)]
    assert len(counted) % n_parts == 0  # all run the model equally often
    expected = sum(
        -torch.log_softmax(i * 0.01 * torch.arange(float(n)), dim=-1).double()[i + 1].item()
        for i in range(n - 1)
    )
    assert sum(parts) == pytest.approx(expected, rel=1e-5)


def test_a_full_pass_is_that_of_evaluation():
    ids = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5], dtype=np.uint32)
    model = GPT(GPTConfig(11, 6, n_layer=1, n_head=2, n_embd=8), torch.Generator().manual_seed(0))
    want = evaluation.token_nll(model, *batches.text_windows(torch.from_numpy(ids).long(), 6)).nansum().item()
    assert evaluation.total_nll(model, ids, 6) == pytest.approx(want, rel=1e-6)


def test_bits_per_byte_of_a_fair_coin_for_each_byte_is_one():
    assert evaluation.bits_from_nats(math.log(2), n_tokens=10, n_bytes=10) == pytest.approx(1.0)
    assert evaluation.bits_from_nats(4 * math.log(2), n_tokens=10, n_bytes=40) == pytest.approx(1.0)


def test_the_scoreboard_lines_up_and_bounds_the_seconds_by_60_600_and_so_on():
    rows = [
        scoreboard.Score("one", 2.5, 0.01, 729, 0.2),
        scoreboard.Score("a longer name", 2.0, 0.1, 1_000_000, 61.0),
    ]
    lines = scoreboard.table(rows).split("\n")
    assert len({len(line) for line in lines}) == 1
    assert lines[1].split()[1:] == ["2.5000", "0.0100", "3.6067", "729", "<", "60"]
    assert lines[2].endswith("1,000,000    < 600")
    assert scoreboard.table([scoreboard.Score("sixty", 1.0, 0.1, 1, 60.0)]).endswith("< 600")
    rough = scoreboard.table(rows, decimals=2).split("\n")
    assert rough[1].split()[1:4] == ["2.50", "0.01", "3.61"]
    assert len({len(line) for line in rough}) == 1
    assert len(scoreboard.table([]).split("\n")) == 1


@settings(max_examples=200)
@given(
    st.lists(st.floats(0.0, 10.0), min_size=1, max_size=8).filter(lambda p: sum(p) > 1e-6),
    st.integers(0, 10**6),
)
def test_an_index_of_probability_zero_is_never_drawn(probabilities, seed):
    generator = torch.Generator().manual_seed(seed)
    index = sampling.sample_index(torch.tensor(probabilities), generator)
    assert probabilities[int(index)] > 0


def test_draws_follow_the_probabilities():
    probabilities = torch.tensor([0.1, 0.0, 0.6, 0.3])
    draws = sampling.sample_index(probabilities.expand(20_000, 4), torch.Generator().manual_seed(0))
    shares = torch.bincount(draws, minlength=4) / 20_000
    assert torch.allclose(shares, probabilities, atol=0.015)


def test_draws_for_a_seed_do_not_change():
    draws = sampling.sample_index(torch.ones(10, 4), torch.Generator().manual_seed(2147483647))
    assert draws.tolist() == [2, 3, 2, 0, 0, 3, 3, 0, 2, 2]


@pytest.mark.parametrize("probabilities", [[0.0, 0.0], [math.nan, 1.0], [-0.5, 1.5], [math.inf, 1.0]])
def test_what_is_no_distribution_is_refused(probabilities):
    with pytest.raises(ValueError, match="finite, not negative and not all zero"):
        sampling.sample_index(torch.tensor(probabilities))


def test_generation_stops_at_the_stop_token_and_leaves_it_out():
    cycle = table_model(torch.eye(3)[[1, 2, 0]] * 1000)  # 0 -> 1 -> 2 -> 0
    out = sampling.generate(cycle, torch.tensor([[0], [1]]), 10, block_size=1, temperature=0.0, stop_id=0)
    assert out == [[1, 2], [2]]


def test_generation_sees_the_last_block_only_and_takes_sequence_models():
    widths = []

    def model(ids):
        widths.append(ids.shape[1])
        return torch.zeros(*ids.shape, 4)

    out = sampling.generate(model, torch.zeros(1, 2, dtype=torch.int64), 5, block_size=3)
    assert widths == [2, 3, 3, 3, 3]
    assert len(out[0]) == 5


def test_the_draws_of_one_row_do_not_depend_on_when_another_ends(bigram):
    def rows(stop_id):
        generator = torch.Generator().manual_seed(5)
        prompt = torch.zeros(6, 1, dtype=torch.int64)
        return sampling.generate(bigram, prompt, 12, block_size=1, generator=generator, stop_id=stop_id)

    for free, stopped in zip(rows(None), rows(0), strict=True):
        assert stopped == (free[: free.index(0)] if 0 in free else free)


def test_a_low_temperature_is_nearly_greedy_and_a_high_one_nearly_uniform():
    logits = torch.tensor([[0.0, 1.0, 2.0]] * 3)
    prompt = torch.zeros(3000, 1, dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    options = {"block_size": 1, "generator": generator}
    cold, hot = (
        torch.tensor(sampling.generate(table_model(logits), prompt, 1, temperature=t, **options))
        for t in (0.05, 100.0)
    )
    assert (cold == 2).float().mean() > 0.99
    assert (hot == 0).float().mean() == pytest.approx(1 / 3, abs=0.05)


def test_words_are_made_of_letters_without_the_boundary():
    tokenizer = characters.CharTokenizer("ab", boundary=".")
    model = table_model(torch.zeros(3, 3))
    words = sampling.generate_words(
        model, tokenizer, 50, block_size=2, generator=torch.Generator().manual_seed(1)
    )
    assert len(words) == 50
    assert set("".join(words)) == {"a", "b"}
    assert sampling.generate_words(model, tokenizer, 0, block_size=2) == []


def test_words_stop_at_the_longest_length_allowed_and_drawing_stops_with_the_last_word():
    tokenizer = characters.CharTokenizer("ab", boundary=".")
    calls = []

    def never_ends(x):
        calls.append(1)
        return torch.tensor([-1e9, 0.0, 0.0]).expand(len(x), 3)

    words = sampling.generate_words(never_ends, tokenizer, 4, block_size=1, max_length=7)
    assert [len(word) for word in words] == [7] * 4
    calls.clear()

    def ends_at_once(x):
        calls.append(1)
        return torch.tensor([0.0, -1e9, -1e9]).expand(len(x), 3)

    assert sampling.generate_words(ends_at_once, tokenizer, 4, block_size=1) == [""] * 4
    assert len(calls) == 1


def test_rounding_at_the_very_end_of_the_sum_does_not_draw_an_index_of_probability_zero(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.ones(shape, dtype=torch.float64))
    assert sampling.sample_index(torch.tensor([0.5, 0.5, 0.0])).item() == 1


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda m: sampling.generate(m, ONE, 1, block_size=1, temperature=-1.0), "temperature"),
        (lambda m: sampling.generate(m, ONE, 1, block_size=1, temperature=math.nan), "nan"),
        (lambda m: sampling.generate(m, ONE, 1, block_size=0), "at least 1, not 0"),
        (lambda m: sampling.generate(m, ONE[0], 1, block_size=1), r"shape \(B, T\)"),
        (
            lambda m: sampling.generate(lambda x: m(x) * math.nan, ONE, 1, block_size=1, temperature=0.0),
            "NaN",
        ),
        (lambda m: sampling.generate(lambda x: m(x) * math.nan, ONE, 1, block_size=1), "NaN or infinite"),
        (
            lambda m: sampling.generate_words(m, characters.CharTokenizer("ab"), 3, block_size=1),
            "need a boundary",
        ),
        (lambda m: sampling.generate(m, ONE, 1, block_size=1, temperature=math.inf), "got inf"),
        (lambda m: sampling.generate(m, ONE, 1, block_size=1, top_k=0), "at least 1, got 0; None keeps all"),
        (lambda m: sampling.generate(m, ONE, 1, block_size=1, top_p=0.0), "above 0 and up to 1, got 0.0"),
        (lambda m: sampling.generate(m, ONE, 1, block_size=1, top_p=1.1), "above 0 and up to 1, got 1.1"),
        (lambda m: sampling.generate(m, ONE[:, :0], 1, block_size=1), r"T at least 1, got \(1, 0\)"),
        (lambda m: sampling.generate(m, ONE, 1), "does not say how many tokens it sees; give block_size"),
        (
            lambda m: sampling.generate(m, ONE, 1, block_size=1, cache=True),
            r"function has no start_cache\(\)",
        ),
        (lambda m: sampling.next_probs(torch.tensor([0.0, math.nan])), "NaN or infinite"),
        (lambda m: sampling.next_probs(torch.tensor([0.0, math.inf])), "NaN or infinite"),
        (lambda m: evaluation.nll(m, ONE, ONE[:, 0] - 100), r"targets must lie in 0..4.*got -100"),
        (lambda m: evaluation.nll(m, ONE, ONE[:, 0] + 5), r"targets must lie in 0..4"),
        (
            lambda m: evaluation.nll(lambda x: (m(x), None), ONE, ONE[:, 0]),
            r"returned a tuple of 2, .*pass lambda ids: model\(ids\)\[0\]",
        ),
        (lambda m: evaluation.word_index(ONE), r"takes targets \(N,\)"),
        (lambda m: evaluation.bootstrap_se(torch.rand(3), torch.zeros(3)), "at least 2 words"),
        (lambda m: evaluation.nll(m, NONE, NONE[:, 0]), "not empty"),
        (lambda m: evaluation.nll(m, ONE, torch.zeros(3).long()), "equally many"),
        (lambda m: evaluation.nll(lambda x: torch.zeros(1, 4, 5), ONE, ONE[:, 0]), "do not fit"),
        (
            lambda m: evaluation.bootstrap_se(torch.rand(3), torch.arange(2)),
            "losses and groups have one shape",
        ),
        (lambda m: evaluation.bootstrap_se(torch.rand(3), n_resamples=1), "at least 2 resamples"),
        (lambda m: evaluation.bits_from_nats(1.0, 0, 1), "at least one token"),
    ],
)
def test_a_mistake_gets_a_sentence(mistake, message, bigram):
    with pytest.raises(ValueError, match=message):
        mistake(bigram)


# Top-k, top-p


def kept_by_hand(logits, temperature, top_k, top_p):
    """The distribution in plain Python: sort, cut, cut, divide."""
    top = max(logits)
    weights = [math.exp((logit - top) / temperature) for logit in logits]
    order = sorted(range(len(logits)), key=lambda i: -weights[i])[
        :top_k
    ]  # of equal ones the first stays first
    total, so_far, kept = sum(weights[i] for i in order), 0.0, []
    for i in order:
        if top_p is None or so_far < top_p * total:
            kept.append(i)
        so_far += weights[i]
    total = sum(weights[i] for i in kept)
    return [weights[i] / total if i in kept else 0.0 for i in range(len(logits))]


CUTS = {"top_k": st.none() | st.integers(1, 12), "top_p": st.none() | st.floats(0.01, 0.99)}


@settings(deadline=None, max_examples=200)
@given(
    logits=st.lists(st.floats(-5, 5), min_size=1, max_size=10, unique=True),
    temperature=st.floats(0.3, 3.0),
    **CUTS,
)
def test_what_is_drawn_from_is_sorted_and_cut_twice(logits, temperature, top_k, top_p):
    if top_p is not None:  # not where rounding decides
        probs = torch.tensor(sorted(kept_by_hand(logits, temperature, top_k, None), reverse=True))
        assume((probs.cumsum(0) - top_p).abs().min() > 1e-6)
    got = sampling.next_probs(torch.tensor(logits, dtype=torch.float64), temperature, top_k, top_p)
    assert got.dtype == torch.float64
    assert got.tolist() == pytest.approx(kept_by_hand(logits, temperature, top_k, top_p), abs=1e-9)
    assert got.sum().item() == pytest.approx(1.0)


def test_each_row_is_cut_on_its_own_and_the_logits_stay_as_they_are():
    logits = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    before = logits.clone()
    got = sampling.next_probs(logits, 0.7, 5, 0.8)
    for i in range(2):
        for j in range(3):
            expected = kept_by_hand(logits[i, j].double().tolist(), 0.7, 5, 0.8)
            assert got[i, j].tolist() == pytest.approx(expected, abs=1e-9)
    assert torch.equal(logits, before)


def test_of_equally_likely_tokens_the_first_are_kept():
    logits = torch.tensor([1.0, 2.0, 2.0, 2.0, 0.0])
    assert sampling.next_probs(logits, top_k=2).tolist() == pytest.approx([0, 0.5, 0.5, 0, 0])
    assert sampling.next_probs(torch.zeros(4), top_p=0.5).tolist() == [0.5, 0.5, 0, 0]
    assert sampling.next_probs(torch.zeros(4), top_p=0.51).tolist() == pytest.approx([1 / 3] * 3 + [0])
    assert sampling.next_probs(logits, temperature=0.0).tolist() == [0, 1, 0, 0, 0]


def test_cuts_that_keep_all_change_nothing_and_the_narrowest_keep_one():
    logits = torch.randn(20, generator=torch.Generator().manual_seed(0))
    free = sampling.next_probs(logits)
    torch.testing.assert_close(free, torch.softmax(logits.double(), -1))
    for cuts in ({"top_k": 20}, {"top_k": 99}, {"top_p": 1.0}):
        torch.testing.assert_close(sampling.next_probs(logits, **cuts), free)
    for cuts in ({"top_k": 1}, {"top_p": 1e-9}, {"top_k": 7, "top_p": 1e-9}):
        assert torch.equal(sampling.next_probs(logits, **cuts), sampling.next_probs(logits, 0.0))


def test_a_logit_of_minus_infinity_is_never_drawn():
    logits = torch.tensor([0.0, -math.inf, 0.0])
    for cuts in ({}, {"top_k": 3}, {"top_p": 1.0}, {"temperature": 50.0}):
        assert sampling.next_probs(logits, **cuts).tolist() == [0.5, 0.0, 0.5]


def test_top_k_of_one_is_temperature_zero(bigram):
    prompt = torch.arange(5)[:, None]
    greedy = sampling.generate(bigram, prompt, 9, block_size=1, temperature=0.0)
    for cuts in ({"top_k": 1}, {"top_p": 1e-6}):
        assert sampling.generate(bigram, prompt, 9, block_size=1, **cuts) == greedy


# With a cache

V, BLOCK = 7, 6
FORMS = {
    "gpt2": lambda: GPT(GPTConfig(V, BLOCK, n_layer=2, n_head=2, n_embd=8), seeded()),
    "modern": lambda: GPT(GPTConfig.modern(V, BLOCK, n_layer=2, n_head=2, n_embd=8), seeded()),
    "query-key norm": lambda: GPT(
        GPTConfig.modern(V, BLOCK, n_layer=2, n_head=2, n_embd=8, qk_norm=True, tie_weights=False), seeded()
    ),
    "wavenet": lambda: WaveNet(V, 8, (1, 2), 2, generator=seeded()),
    "wavenet of words": lambda: WaveNet(V, 8, (1, 2, 4), 3, bos_id=0, generator=seeded()),
}


def network(form):
    """In float64, with large weights, so that what is drawn depends on what was read."""
    model = FORMS[form]().double()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.5 * torch.randn(p.shape, generator=seeded(3), dtype=torch.float64)
    return model


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("length", [1, 3, BLOCK, BLOCK + 5])
@pytest.mark.parametrize("block_size", [None, 1, 4, BLOCK])
@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.0}, {"stop_id": 2}, {"top_k": 3}, {"top_p": 0.6, "temperature": 1.5}]
)
def test_generation_with_a_cache_draws_the_same_tokens(form, length, block_size, options):
    model = network(form)
    prompt = torch.randint(V, (4, length), generator=seeded(1))
    rows = [
        sampling.generate(
            model, prompt, 15, block_size=block_size, generator=seeded(7), cache=cache, **options
        )
        for cache in (False, True)
    ]
    assert rows[0] == rows[1]
    assert all(len(row) == 15 or "stop_id" in options for row in rows[0])


@pytest.mark.parametrize("form", ["gpt2", "wavenet"])
def test_with_a_cache_each_token_is_read_once_until_the_window_slides(form):
    model, widths = network(form), []
    model.register_forward_hook(lambda module, inputs, out: widths.append(inputs[0].shape[1]))
    sampling.generate(model, torch.zeros(2, 3).long(), 8, generator=seeded(), cache=True)
    slid = [BLOCK] * 4 if form == "gpt2" else [1] * 4  # a GPT past its block reads each window anew
    assert widths == [3, 1, 1, 1, *slid]


def test_a_longer_wavenet_block_is_no_reason_to_read_anew():
    model, widths = network("wavenet"), []
    model.register_forward_hook(lambda module, inputs, out: widths.append(inputs[0].shape[1]))
    sampling.generate(model, torch.zeros(1, 2).long(), 30, block_size=9, generator=seeded(), cache=True)
    assert widths == [2, *[1] * 29]


@pytest.mark.parametrize("cache", [False, True])
def test_generation_runs_in_eval_mode_without_gradients_and_puts_the_modes_back(cache):
    model = network("gpt2")
    model.blocks[1].eval()
    modes = [part.training for part in model.modules()]
    seen = []
    model.register_forward_hook(
        lambda module, *_: seen.append(
            (any(part.training for part in module.modules()), torch.is_grad_enabled())
        )
    )
    sampling.generate(model, torch.zeros(1, 2).long(), 5, cache=cache)
    assert set(seen) == {(False, False)}
    assert [part.training for part in model.modules()] == modes
    assert torch.is_grad_enabled()
    with torch.no_grad():
        model.head.weight.fill_(math.nan)
    with pytest.raises(ValueError, match="NaN or infinite"):
        sampling.generate(model, torch.zeros(1, 2).long(), 5, cache=cache)
    assert [part.training for part in model.modules()] == modes
    assert torch.is_grad_enabled()


def test_no_token_is_asked_for_and_none_is_read():
    calls = []
    assert sampling.generate(lambda ids: calls.append(1), ONE, 0, block_size=1) == [[]]
    assert not calls


def test_words_of_a_sequence_model_start_from_one_boundary():
    tokenizer = characters.CharTokenizer("ab", boundary=".")
    widths = []

    def model(ids):
        widths.append(ids.shape[1])
        return torch.zeros(*ids.shape, 3)

    for whole, first in ((True, 1), (False, 4)):
        widths.clear()
        words = sampling.generate_words(
            model, tokenizer, 5, block_size=4, generator=seeded(), max_length=6, sequence_model=whole
        )
        assert len(words) == 5
        assert widths[0] == first
        assert max(widths) <= 4


# Text in, text out; bits per byte


def small_gpt(vocab_size):
    model = GPT(GPTConfig(vocab_size, 6, n_layer=1, n_head=2, n_embd=8), seeded())
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(8.0)  # so that its distributions are far from uniform
    return model


TEXTS = ["ab", "a€b ba", "Grüße, ab €"]
TOKENIZERS = {
    "characters": characters.CharTokenizer("".join(TEXTS)),
    "bytes": BPETokenizer.train("ab ab ba €€", 262),
    "with a special token": BPETokenizer.train("ab ab ba", 260, special_tokens=["<end>"]),
}


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.5, "top_k": 3}, {"top_p": 0.7}, {"temperature": 0.0}]
)
def test_complete_is_encode_generate_decode(name, options):
    tokenizer = TOKENIZERS[name]
    model = small_gpt(tokenizer.vocab_size)
    ids = torch.tensor([tokenizer.encode("ab")])
    (new,) = sampling.generate(model, ids, 9, generator=seeded(4), **options)
    assert sampling.complete(model, tokenizer, "ab", 9, seed=4, **options) == tokenizer.decode(
        ids[0].tolist() + new
    )


def test_complete_reads_special_tokens_as_such_and_refuses_an_empty_prompt():
    tokenizer = TOKENIZERS["with a special token"]
    model = small_gpt(tokenizer.vocab_size)
    assert sampling.complete(model, tokenizer, "<end>", 0) == "<end>"
    with pytest.raises(ValueError, match="the prompt is empty"):
        sampling.complete(model, tokenizer, "", 5)


@pytest.mark.parametrize("options", [{}, {"temperature": 0.0}, {"top_k": 5}, {"top_p": 0.9}])
def test_complete_never_draws_an_id_that_stands_for_no_token(options):
    """In a vocabulary with gaps, or of a model that has more rows than the tokenizer has ids."""
    ranks = {bytes([i]): 3 * i for i in range(256)}
    for tokenizer, n_rows in ((BPETokenizer(ranks, None), 766), (characters.CharTokenizer("ab"), 50)):
        model = small_gpt(n_rows)
        text = sampling.complete(model, tokenizer, "ab", 30, seed=1, **options)
        assert text.startswith("ab")
        ids = torch.tensor([tokenizer.encode("ab")])
        (new,) = sampling.generate(
            model, ids, 30, generator=seeded(1), allowed_ids=tokenizer.ids, cache=True, **options
        )
        assert set(new) <= set(tokenizer.ids)
        assert tokenizer.decode(new) == text.removeprefix("ab")


def test_the_allowed_ids_share_the_probability_as_if_there_were_no_others():
    logits = torch.randn((1, 9), generator=seeded(0))
    allowed = [1, 4, 8]
    draws = [
        sampling.generate(
            lambda ids: logits,
            torch.tensor([[0]]),
            40,
            block_size=1,
            generator=seeded(2),
            allowed_ids=allowed,
        ),
        sampling.generate(
            lambda ids: logits[:, allowed], torch.tensor([[0]]), 40, block_size=1, generator=seeded(2)
        ),
    ]
    assert draws[0][0] == [allowed[i] for i in draws[1][0]]


@pytest.mark.parametrize("prompt", ["ab", [1, 2], [[1, 2]]])
def test_a_prompt_that_is_no_tensor_gets_told_what_to_do(prompt):
    with pytest.raises(ValueError, match=r"for a text use complete\(\)"):
        sampling.generate(small_gpt(5), prompt, 3)


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("text", TEXTS[1:])
def test_bits_per_byte_of_a_text_are_its_summed_nats_over_the_bytes_of_the_targets(name, text):
    tokenizer = TOKENIZERS[name]
    model = small_gpt(tokenizer.vocab_size)
    ids = tokenizer.encode(text)
    nats = 0.0
    for start in range(0, len(ids) - 1, 6):
        piece = torch.tensor([ids[start : start + 6]])
        log_probs = torch.log_softmax(model(piece).double(), dim=-1)[0]
        for place, target in enumerate(ids[start + 1 : start + 7]):
            nats -= log_probs[place, target].item()
    n_bytes = len(tokenizer.decode_bytes(ids[1:]))
    expected = nats / n_bytes / math.log(2)
    assert evaluation.bits_per_byte(model, tokenizer, text) == pytest.approx(expected, rel=1e-6)


def test_bits_per_byte_need_a_block_size_and_two_tokens():
    tokenizer = TOKENIZERS["characters"]
    uniform = lambda ids: torch.zeros(*ids.shape, tokenizer.vocab_size)  # noqa: E731
    got = evaluation.bits_per_byte(uniform, tokenizer, "abab", block_size=2)
    assert got == pytest.approx(math.log2(tokenizer.vocab_size))
    for text, model in (("a", small_gpt(tokenizer.vocab_size)), ("abab", uniform)):
        with pytest.raises(ValueError, match="at least two tokens and a model that says its block_size"):
            evaluation.bits_per_byte(model, tokenizer, text)


def test_the_perplexity_of_a_uniform_choice_is_how_many_there_are():
    assert evaluation.perplexity(math.log(27)) == pytest.approx(27)


def test_a_model_may_be_any_callable_whatever_else_it_holds():
    class Mine:
        parameters = [torch.zeros(27)]  # noqa: RUF012  (a learner's own model may keep them in a list)

        def __call__(self, ids):
            return self.parameters[0].expand(*ids.shape[:1], 27)

    x, y = torch.zeros(3, 2, dtype=torch.int64), torch.tensor([1, 2, 0])
    assert evaluation.nll(Mine(), x, y) == pytest.approx(math.log(27))


# A model that is not a number


@pytest.mark.parametrize(
    "use",
    [
        lambda model, x, y: evaluation.token_nll(model, x, y),
        lambda model, x, y: evaluation.nll(model, x, y),
        lambda model, x, y: evaluation.total_nll(model, x[0].numpy(), 3),
        lambda model, x, y: scoreboard.score_words("m", model, x, y, n_parameters=0, seconds=0.0),
    ],
)
def test_logits_that_are_nan_never_become_a_loss(use):
    def model(ids):
        logits = torch.zeros(*ids.shape, 5)
        logits[-1, -1, 0] = math.nan
        return logits

    x, y = torch.ones(2, 4, dtype=torch.int64), torch.tensor([[1, 2, 0, -1], [1, 1, 1, 0]])
    with pytest.raises(FloatingPointError, match="logits are NaN"):
        use(model, x, y)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda m: evaluation.nll(m, "ab", "ba"), "tensor of numbers is needed, got str; encode a text"),
        (lambda m: evaluation.nll(m, None, ONE), r"got nothing \(None\)"),
        (lambda m: evaluation.nll(None, ONE, ONE), "but this is NoneType"),
        (lambda m: evaluation.nll(torch.zeros(2), ONE, ONE), "but this is Tensor"),
        (lambda m: evaluation.nll(torch.nn.Linear, ONE, ONE), "but this is the class Linear; call it first"),
        (lambda m: evaluation.nll(m, ONE, ONE > 0), "targets are the ids of tokens.*torch.bool"),
        (lambda m: evaluation.nll(m, ONE, ONE * 0.5), "targets are the ids of tokens.*torch.float32"),
        (lambda m: evaluation.nll(lambda x: x[..., None], ONE, ONE), "logits are decimals, got torch.int64"),
        (lambda m: evaluation.nll(lambda x: None, ONE, ONE), r"returned nothing \(None\)"),
        (lambda m: evaluation.nll(lambda x: x.sum() * 1.0, ONE, ONE), "returned one number, but logits"),
        (lambda m: evaluation.nll(m, ONE, ONE - 1), "every target is -1"),
        (lambda m: evaluation.total_nll(m, [1], 3), r"at least two ids \(n,\).*got shape \(1,\)"),
        (lambda m: evaluation.total_nll(m, [], 3), r"got shape \(0,\)"),
        (lambda m: evaluation.total_nll(m, [[1, 2]], 3), r"got shape \(1, 2\)"),
        (lambda m: evaluation.total_nll(m, [1, 2], 0), "block_size=0"),
        (lambda m: evaluation.total_nll(m, [1, 2], 3, shard=(2, 2)), r"shard=\(2, 2\)"),
        (lambda m: evaluation.total_nll(m, [1, 2], 3, shard=(0, 0)), r"shard=\(0, 0\)"),
        (lambda m: evaluation.total_nll(m, [0.5, 1.0], 3), "ids are whole numbers, got float64"),
        (lambda m: evaluation.total_nll(m, torch.zeros(3), 3), "ids are whole numbers, got torch.float32"),
        (lambda m: evaluation.bootstrap_se(torch.tensor([1.0, math.nan])), "some losses are NaN"),
        (lambda m: evaluation.bootstrap_se(torch.tensor(1.0)), "got one number"),
        (lambda m: evaluation.bootstrap_se("ab"), "got str"),
        (lambda m: evaluation.word_index("ab"), "got str"),
    ],
)
def test_what_is_no_model_no_text_and_no_loss_gets_a_sentence(use, message):
    with pytest.raises(ValueError, match=message) as error:
        use(lambda ids: torch.zeros(*ids.shape, 5))
    assert "\n" not in str(error.value)


def test_lists_arrays_and_tensors_of_ids_have_one_loss():
    model = small_gpt(7)
    ids = [1, 2, 3, 4, 5, 6, 0, 1, 2, 3]
    kinds = [ids, np.array(ids, dtype=np.uint16), torch.tensor(ids), torch.tensor(ids, dtype=torch.int32)]
    assert len({evaluation.total_nll(model, kind, 6) for kind in kinds}) == 1
    assert evaluation.word_index([1, 0, 2, 0]).tolist() == [0, 0, 1, 1]
    assert evaluation.bootstrap_se([1.0, 2.0, 4.0]) == evaluation.bootstrap_se(torch.tensor([1.0, 2.0, 4.0]))


def test_a_perplexity_that_no_number_can_hold_is_infinite():
    assert evaluation.perplexity(1e4) == math.inf
    assert math.isnan(evaluation.perplexity(math.nan))


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_logits_that_are_all_infinite_have_no_loss(value):
    with pytest.raises(FloatingPointError, match="NaN, or infinite"):
        evaluation.nll(lambda x: torch.full((*x.shape, 5), value), ONE, ONE)


def test_a_logit_of_nan_where_there_is_no_target_does_no_harm():
    def model(ids):
        logits = torch.zeros(*ids.shape, 5)
        logits[0, -1] = math.nan
        return logits

    x, y = torch.ones(2, 4, dtype=torch.int64), torch.tensor([[1, 2, 0, -1], [1, 1, 1, 0]])
    assert evaluation.nll(model, x, y) == pytest.approx(math.log(5))
