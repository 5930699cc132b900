"""Causal convolutions, the tree and WaveNet, against torch's convolution, loops written out, and what they may see."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import random, seeded, shaken

from nnhelpers.backprop import causal_conv_backward
from nnhelpers.layers import BatchNorm1d
from nnhelpers.wavenet import (
    CausalConv1d,
    DilatedTree,
    FusePairs,
    GatedLayer,
    PositionNorm,
    Tree,
    WaveNet,
    position_in_document,
    receptive_field,
)

VOCAB = 13


def random_ids(*shape, seed=0):
    return torch.randint(VOCAB, shape, generator=seeded(seed))


# The causal convolution

KERNELS = {"kernel_size": st.integers(1, 4), "dilation": st.integers(1, 5), "n_steps": st.integers(1, 12)}


@given(**KERNELS, bias=st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_causal_convolution_is_torchs_after_zeros_on_the_left_and_the_sum_written_out(
    kernel_size, dilation, n_steps, bias
):
    conv = shaken(CausalConv1d(3, 4, kernel_size, dilation, bias=bias, generator=seeded()))
    x = random(2, 3, n_steps)
    padded = F.pad(x, (dilation * (kernel_size - 1), 0))
    expected = F.conv1d(padded, conv.weight, conv.bias, dilation=dilation)
    assert torch.equal(conv(x), expected)
    for t in range(n_steps):
        total = conv.bias.detach().clone() if bias else torch.zeros(4).double()
        for k in range(kernel_size):
            if (place := t - dilation * (kernel_size - 1 - k)) >= 0:
                total = total + x[1, :, place] @ conv.weight[:, :, k].T
        torch.testing.assert_close(conv(x)[1, :, t], total, rtol=1e-12, atol=1e-12)


@given(**KERNELS)
@settings(deadline=None, max_examples=60)
def test_its_gradients_are_those_of_the_backward_function_written_by_hand(kernel_size, dilation, n_steps):
    conv = shaken(CausalConv1d(3, 4, kernel_size, dilation, generator=seeded()))
    x, dout = random(2, 3, n_steps).requires_grad_(), random(2, 4, n_steps, seed=1)
    grads = torch.autograd.grad((conv(x) * dout).sum(), [x, conv.weight, conv.bias])
    by_hand = causal_conv_backward(dout, x.detach(), conv.weight.detach(), dilation)
    for got, expected in zip(grads, by_hand, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@given(**KERNELS, cut=st.integers(0, 12))
@settings(deadline=None, max_examples=60)
def test_given_the_past_it_goes_on_where_it_left_off(kernel_size, dilation, n_steps, cut):
    conv = shaken(CausalConv1d(3, 4, kernel_size, dilation, generator=seeded()))
    x = random(2, 3, n_steps + cut)
    past = F.pad(x[:, :, :cut], (conv.n_past, 0))[:, :, cut:]  # the last n_past steps before the cut
    torch.testing.assert_close(conv(x[:, :, cut:], past), conv(x)[:, :, cut:], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("gain", "kernel_size"), [(1.0, 2), (math.sqrt(2), 3)])
def test_its_weights_start_at_gain_over_the_root_of_what_they_read_and_its_bias_at_0(gain, kernel_size):
    conv = CausalConv1d(64, 64, kernel_size, gain=gain, generator=seeded())
    assert conv.weight.std().item() == pytest.approx(gain / math.sqrt(64 * kernel_size), rel=0.03)
    assert torch.equal(conv.bias, torch.zeros(64))
    assert CausalConv1d(2, 2, bias=False).bias is None
    assert "64, 64, kernel_size=" in repr(conv)


# What an output can see


@given(kernel_size=st.integers(1, 3), dilations=st.lists(st.integers(1, 4), min_size=1, max_size=3))
@settings(deadline=None, max_examples=40)
def test_the_receptive_field_is_exact(kernel_size, dilations):
    """Perturbed one by one, the last `receptive_field` inputs change the last logit, the ones before do not."""
    model = shaken(WaveNet(VOCAB, 16, dilations, kernel_size, generator=seeded()))
    reach = sum((kernel_size - 1) * dilation for dilation in dilations) + 1
    assert model.receptive_field == model.block_size == receptive_field(kernel_size, dilations) == reach
    # every sum of multiples 0..kernel_size-1 of the dilations is a place that the last output looks at
    seen = {0}
    for dilation in dilations:
        seen = {place + k * dilation for place in seen for k in range(kernel_size)}
    n_tokens = reach + 3
    ids = random_ids(1, n_tokens)
    rows = ids.repeat(n_tokens, 1)
    rows[range(n_tokens), range(n_tokens)] += 1
    with torch.no_grad():
        moved = (model(rows % VOCAB)[:, -1] - model(ids)[:, -1]).abs().amax(dim=1)
    assert [change > 0 for change in moved.tolist()] == [n_tokens - 1 - t in seen for t in range(n_tokens)]


def test_doubling_dilations_leave_no_gaps_by_gradient():
    model = shaken(WaveNet(VOCAB, 16, (1, 2, 4), generator=seeded()))
    kept = {}
    model.embedding.register_forward_hook(lambda module, inputs, out: kept.update(x=out))
    logits = model(random_ids(1, 20))
    for t in range(20):
        (grad,) = torch.autograd.grad(logits[0, t].square().sum(), kept["x"], retain_graph=True)
        assert (grad[0].abs().sum(1) > 0).tolist() == [t - 8 < i <= t for i in range(20)]


def test_no_position_sees_a_later_one():
    torch.manual_seed(0)
    for model in (shaken(WaveNet(VOCAB, 16, generator=seeded())), shaken(Tree(VOCAB, 8, 4, 6)).dilated()):
        ids = random_ids(3, 12)
        before = model(ids)
        for t in range(12):
            changed = ids.clone()
            changed[:, t] = (changed[:, t] + 1) % VOCAB
            after = model(changed)
            assert torch.equal(after[:, :t], before[:, :t])
            assert not after[:, t].isclose(before[:, t]).all(-1).any()


# The tree


def test_fusing_pairs_puts_two_neighbours_side_by_side():
    x = torch.arange(12).view(1, 6, 2)
    assert FusePairs()(x).tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]]


def test_the_position_norm_takes_the_mean_over_examples_and_positions():
    norm, by_hand = PositionNorm(5).double(), BatchNorm1d(5)
    for name in ("weight", "bias"):
        with torch.no_grad():
            getattr(norm, name).copy_(random(5, seed=3))
        setattr(by_hand, name, getattr(norm, name).detach().clone().requires_grad_())
    by_hand.running_mean, by_hand.running_var = norm.running_mean.clone(), norm.running_var.clone()
    x = 3 * random(6, 4, 5) + 1
    out = norm(x)
    mean, var = x.mean((0, 1)), x.var((0, 1), correction=0)
    expected = (x - mean) / (var + 1e-5).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(out, by_hand(x.transpose(1, 2)).transpose(1, 2), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(norm.running_mean, 0.1 * mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(norm.running_var, by_hand.running_var, rtol=1e-12, atol=1e-12)
    norm.eval(), by_hand.eval()
    torch.testing.assert_close(norm(x), by_hand(x.transpose(1, 2)).transpose(1, 2), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("block_size", [2, 4, 8])
def test_the_tree_is_a_loop_that_joins_neighbours_until_one_is_left(block_size):
    torch.manual_seed(0)
    tree = shaken(Tree(VOCAB, block_size, 5, 6))
    windows = random_ids(4, block_size)
    logits = tree(windows)
    for n in range(4):
        units = [tree.embedding.weight[i] for i in windows[n]]
        for linear, norm in zip(tree.linears, tree.norms, strict=True):
            joined = []
            for left, right in zip(units[::2], units[1::2], strict=True):
                z = linear.weight @ torch.cat([left, right])
                z = (z - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
                joined.append(torch.tanh(z))
            units = joined
        expected = tree.head.weight @ units[0] + tree.head.bias
        torch.testing.assert_close(logits[n], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("block_size", [2, 4, 8, 16])
def test_the_dilated_tree_gives_the_trees_logits_at_every_position_at_once(block_size):
    torch.manual_seed(0)
    tree = shaken(Tree(VOCAB, block_size, 5, 6))
    dilated, ids = tree.dilated(), random_ids(3, 25)
    assert not dilated.training
    assert dilated.block_size == block_size == receptive_field(2, [conv.dilation for conv in dilated.convs])
    everywhere = dilated(ids)
    for t in range(block_size - 1, 25):
        window = ids[:, t + 1 - block_size : t + 1]
        torch.testing.assert_close(everywhere[:, t], tree(window), rtol=1e-10, atol=1e-10)


def test_the_dilated_tree_copies_the_convolutions_and_shares_the_rest():
    tree = Tree(VOCAB, 4, 5, 6)
    dilated = tree.dilated()
    assert isinstance(dilated, DilatedTree)
    assert dilated.training
    assert (dilated.embedding, dilated.norms, dilated.head) == (tree.embedding, tree.norms, tree.head)
    before = [linear.weight.clone() for linear in tree.linears]
    with torch.no_grad():
        for conv in dilated.convs:
            conv.weight.zero_()
    assert all(torch.equal(a, b.weight) for a, b in zip(before, tree.linears, strict=True))


def test_a_tree_starts_with_a_flat_guess_and_hidden_layers_that_keep_the_size():
    tree = Tree(VOCAB, 8, 64, 128, generator=seeded())
    assert tree.embedding.weight.std().item() == pytest.approx(1.0, rel=0.05)
    for linear in tree.linears:
        n_in = linear.weight.shape[1]
        assert linear.weight.std().item() == pytest.approx(5 / 3 / math.sqrt(n_in), rel=0.03)
        assert linear.bias is None
    assert tree.head.weight.std().item() == pytest.approx(0.1 / math.sqrt(128), rel=0.05)
    assert torch.equal(tree.head.bias, torch.zeros(VOCAB))
    for norm in tree.norms:
        assert torch.equal(norm.weight, torch.ones(128))
    windows = random_ids(200, 8)
    loss = F.cross_entropy(tree(windows), random_ids(200, seed=1)).item()
    assert loss == pytest.approx(math.log(VOCAB), abs=0.05)


# WaveNet


@pytest.mark.parametrize("has_residual", [True, False])
def test_a_gated_layer_is_tanh_times_sigmoid_with_a_residual_and_a_skip_path(has_residual):
    options = {"kernel_size": 2, "dilation": 4, "dropout": 0.5, "residual": has_residual}
    layer = shaken(GatedLayer(3, 5, **options, generator=seeded()))
    x = random(2, 3, 9)
    conv = F.conv1d(F.pad(x, (4, 0)), layer.conv.weight, layer.conv.bias, dilation=4)
    z = torch.tanh(conv[:, :3]) / (1 + torch.exp(-conv[:, 3:]))
    both = torch.einsum("oi,bit->bot", layer.out.weight[:, :, 0], z) + layer.out.bias[:, None]
    out, skip = layer(x)
    assert both.shape[1] == (8 if has_residual else 5)
    torch.testing.assert_close(skip, both[:, :5], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(out, x + both[:, 5:] if has_residual else x, rtol=1e-12, atol=1e-12)


def test_the_last_layer_has_no_residual_path_because_nothing_follows():
    model = WaveNet(VOCAB, 4, (1, 2, 4))
    assert [layer.residual for layer in model.layers] == [True, True, False]
    model(random_ids(2, 9)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("n_skip", [None, 7])
def test_wavenet_adds_its_skips_up_and_turns_them_into_logits(n_skip):
    model = shaken(WaveNet(VOCAB, 4, (1, 2, 4), 3, n_skip=n_skip, generator=seeded()))
    ids = random_ids(2, 10)
    x, total = model.embedding.weight[ids].mT, 0.0
    for layer in model.layers:
        x, skip = layer(x)
        total = total + skip
    assert total.shape == (2, n_skip or 4, 10)
    y = torch.relu(total / math.sqrt(3))
    y = torch.relu(torch.einsum("oi,bit->bot", model.mix.weight[:, :, 0], y) + model.mix.bias[:, None])
    y = torch.einsum("oi,bit->bto", model.head.weight[:, :, 0], y) + model.head.bias
    torch.testing.assert_close(model(ids), y, rtol=1e-12, atol=1e-12)


@cache
def wavenet(kernel_size, dilations):
    return shaken(WaveNet(VOCAB, 4, dilations, kernel_size, generator=seeded()))


@given(
    kernel_size=st.integers(1, 3),
    dilations=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    cuts=st.sets(st.integers(1, 39)),
)
@settings(deadline=None, max_examples=80)
def test_reading_with_a_cache_gives_the_same_logits_however_the_text_is_cut(kernel_size, dilations, cuts):
    """40 tokens: beyond any of the receptive fields as well."""
    model, ids = wavenet(kernel_size, dilations), random_ids(2, 40)
    cache = model.start_cache(2)
    with torch.no_grad():
        pieces = [model(ids[:, a:b], cache) for a, b in pairwise([0, *sorted(cuts), 40])]
        expected = model(ids)
    assert cache.n_tokens == 40
    torch.testing.assert_close(torch.cat(pieces, dim=1), expected, rtol=1e-10, atol=1e-10)


# Several words in one row

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=6)


def row_of(words):
    """The words end to end, each beginning with id 0 and then without it, (1, n)."""
    return torch.cat(
        [torch.cat([torch.zeros(1).long(), 1 + random_ids(n, seed=n) % (VOCAB - 1)]) for n in words]
    )[None]


@given(kernel_size=st.integers(1, 3), words=LENGTHS, cuts=st.sets(st.integers(1, 60)))
@settings(deadline=None, max_examples=60)
def test_with_a_start_id_a_word_in_a_row_is_read_as_if_it_stood_alone(kernel_size, words, cuts):
    plain = wavenet(kernel_size, (1, 3, 2))
    model = shaken(WaveNet(VOCAB, 4, (1, 3, 2), kernel_size, bos_id=0, generator=seeded()))
    model.load_state_dict(plain.state_dict())
    row = row_of(words)
    with torch.no_grad():
        expected = torch.cat([plain(row_of([n])) for n in words], dim=1)
        together = model(row)
        cache = model.start_cache(1)
        edges = [0, *sorted(cut for cut in cuts if cut < row.shape[1]), row.shape[1]]
        pieces = [model(row[:, a:b], cache) for a, b in pairwise(edges)]
    torch.testing.assert_close(together, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(torch.cat(pieces, dim=1), expected, rtol=1e-10, atol=1e-10)


def test_the_gradient_of_words_in_one_row_is_that_of_the_words_alone():
    one, two = (WaveNet(VOCAB, 4, bos_id=0, generator=seeded()).double() for _ in range(2))
    one(row_of([3, 7, 2])).square().sum().backward()
    for n in (3, 7, 2):
        two(row_of([n])).square().sum().backward()
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-10, atol=1e-10)


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=8, max_size=8), min_size=1, max_size=3), st.integers(1, 7)
)
def test_steps_since_the_last_start_are_counted_in_each_row_and_go_on_behind_a_cut(rows, cut):
    ids = torch.tensor(rows)
    expected = []
    for row in rows:
        steps = -1
        expected.append([steps := 0 if i == 0 else steps + 1 for i in row])
    assert position_in_document(ids, 0).tolist() == expected
    before = position_in_document(ids[:, :cut], 0)
    after = position_in_document(ids[:, cut:], 0, before[:, -1])
    assert torch.cat([before, after], dim=1).tolist() == expected


def test_a_cache_holds_no_more_than_the_kernels_reach_back_to():
    model = wavenet(3, (1, 2, 4))
    cache = model.start_cache(2)
    with torch.no_grad():
        model(random_ids(2, 40), cache)
    assert [tuple(past.shape) for past in cache.pasts] == [(2, 4, 2), (2, 4, 4), (2, 4, 8)]


def test_the_first_loss_is_about_that_of_equal_chances_and_one_batch_can_be_learned_by_heart():
    model = WaveNet(VOCAB, 16, generator=seeded())
    ids, targets = random_ids(4, 12), random_ids(4, 12, seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    for _ in range(120):
        loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(VOCAB), abs=0.1)
    assert losses[-1] < 0.1


def test_dropout_acts_in_training_mode_alone_and_on_whole_channels():
    model = WaveNet(VOCAB, 64, dropout=0.5, generator=seeded())
    plain = WaveNet(VOCAB, 64, generator=seeded())
    ids, kept = random_ids(8, 12), {}
    assert torch.equal(model.eval()(ids), plain.eval()(ids))
    model.train()
    model.layers[0].dropout.register_forward_hook(lambda module, inputs, out: kept.update(gated=out))
    torch.manual_seed(0)
    assert not torch.equal(model(ids), model(ids))
    gone = (kept["gated"] == 0).all(dim=2)
    assert gone.float().mean() == pytest.approx(0.5, abs=0.1)
    assert (kept["gated"] == 0).float().mean() == gone.float().mean()


def test_the_hidden_matrices_are_the_kernels_inside_and_no_others():
    model = WaveNet(VOCAB, 4, (1, 2))
    outside = ("embedding", "head")
    inside = [id(p) for name, p in model.named_parameters() if p.ndim >= 2 and not name.startswith(outside)]
    assert [id(p) for p in model.hidden_matrices()] == inside
    assert len(inside) == 5  # two in each layer, and the mix


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: WaveNet(VOCAB, 4, generator=seeded(seed)),
        lambda seed: Tree(VOCAB, 4, 5, 6, generator=seeded(seed)),
    ],
)
def test_the_same_generator_gives_the_same_model_and_its_state_is_all_there_is(make):
    torch.manual_seed(1)
    one = make(3)
    torch.manual_seed(2)
    two, other = make(3), make(4)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    ids = random_ids(3, 4)
    assert not torch.equal(other.eval()(ids), one.eval()(ids))
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(ids), one(ids))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: CausalConv1d(0, 1), "at least 1, got 0, 1, 2 and 1"),
        (lambda: CausalConv1d(1, 1, 0), "got 1, 1, 0 and 1"),
        (
            lambda: CausalConv1d(1, 1, 2, 0),
            "channels, kernel_size and dilation are at least 1, got 1, 1, 2 and 0",
        ),
        (lambda: WaveNet(VOCAB, 4, (1, 0)), "at least 1, got 4, 8, 2 and 0"),
        (lambda: WaveNet(VOCAB, 4, ()), "dilations are at least one number, one for each layer"),
        (lambda: Tree(VOCAB, 6), r"a power of two \(2, 4, 8, …\), got 6"),
        (lambda: Tree(VOCAB, 1), "got 1"),
        (lambda: Tree(VOCAB, 0), "got 0"),
        (lambda: Tree(VOCAB, -4), "got -4"),
        (lambda: Tree(VOCAB, 8)(torch.zeros(2, 7).long()), r"reads windows of 8 ids, got shape \(2, 7\)"),
    ],
)
def test_a_mistake_gets_a_sentence(use, message):
    with pytest.raises(ValueError, match=message):
        use()


@pytest.mark.parametrize("build", [lambda: WaveNet(5, 4, (1, 2)), lambda: Tree(5, 4, 3, 4).dilated().eval()])
@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.zeros(2, 4), r"reads a tensor of ids \(B, T\).* got torch.float32 of shape \(2, 4\)"),
        (torch.zeros(4).long(), r"got torch.int64 of shape \(4,\)"),
        (torch.zeros(1, 0).long(), r"T at least 1, got torch.int64 of shape \(1, 0\)"),
        ([[1, 2]], "got list"),
        (torch.full((1, 4), 5), r"ids must lie in 0\.\.4, got 5\.\.5"),
        (torch.full((1, 4), -1), r"ids must lie in 0\.\.4, got -1\.\.-1"),
    ],
)
def test_what_are_no_ids_of_the_vocabulary_gets_a_sentence(build, ids, message):
    with pytest.raises(ValueError, match=message):
        build()(ids)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: Tree(5, 4)(torch.full((1, 4), 9)), r"ids must lie in 0\.\.4"),
        (lambda: Tree(0, 4), "at least 1, got 0, 24 and 128"),
        (lambda: WaveNet(5, 4, (1,), bos_id=5), r"bos_id is None or an id in 0\.\.4, got 5"),
        (lambda: CausalConv1d(3, 2)(torch.zeros(3, 4)), r"reads \(B, 3, T\), got \(3, 4\)"),
        (lambda: CausalConv1d(3, 2)(torch.zeros(1, 4, 5)), r"reads \(B, 3, T\), got \(1, 4, 5\)"),
        (
            # a past that is too long would give too many outputs
            lambda: CausalConv1d(3, 2)(torch.zeros(1, 3, 5), past=torch.zeros(1, 3, 4)),
            r"the past of \(1, 3, 5\) is \(1, 3, 1\), got \(1, 3, 4\)",
        ),
        (lambda: FusePairs()(torch.zeros(1, 3, 2)), r"an even T, got \(1, 3, 2\)"),
        (lambda: PositionNorm(3)(torch.zeros(2, 3)), r"reads \(N, T, C\), got \(2, 3\)"),
        (lambda: cached(WaveNet(5, 4, (1,))), "the cache holds 2 sequences, but ids have 3 rows"),
    ],
)
def test_shapes_that_do_not_fit_get_a_sentence(use, message):
    with pytest.raises(ValueError, match=message):
        use()


def cached(model):
    model(torch.zeros(3, 1).long(), model.start_cache(2))
