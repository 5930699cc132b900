"""Muon against torch's own and against the singular value decomposition, and which parameter gets which optimizer."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import _muon

from nnhelpers.gpt import GPT, GPTConfig
from nnhelpers.mlp import MLP
from nnhelpers.optim import (
    ADAMW_BESIDE_MUON,
    NEWTON_SCHULZ,
    Muon,
    make_optimizer,
    make_optimizers,
    orthogonalise,
    set_lr,
)
from nnhelpers.wavenet import WaveNet


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def parameters(*shapes, seed=0, dtype=torch.float64):
    return [random(*shape, seed=seed + i).to(dtype).requires_grad_() for i, shape in enumerate(shapes)]


def give_gradients(params, step):
    for i, p in enumerate(params):
        p.grad = random(*p.shape, seed=1000 * step + i).to(p.dtype)


# Orthogonal steps


@given(
    n_rows=st.integers(1, 12),
    n_columns=st.integers(1, 12),
    seed=st.integers(0, 99),
    scale=st.floats(1e-3, 1e3),
)
@settings(deadline=None, max_examples=150)
def test_singular_values_come_near_1_and_singular_vectors_stay(n_rows, n_columns, seed, scale):
    matrix = random(n_rows, n_columns, seed=seed)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    out = orthogonalise(matrix * scale)
    inside = u.mT @ out @ vh.mT  # what is left when the singular vectors are taken off
    torch.testing.assert_close(u @ inside @ vh, out, rtol=0, atol=1e-8)
    torch.testing.assert_close(inside, inside.diagonal().diag(), rtol=0, atol=1e-8)
    large = s > 0.01 * s.norm()  # a direction that is hardly there stays small
    assert ((inside.diagonal() > 0.67) & (inside.diagonal() < 1.21))[large].all()


def test_each_singular_value_goes_through_the_same_polynomial_five_times():
    a, b, c = NEWTON_SCHULZ
    matrix = random(6, 9)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    s = s / s.norm()
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    torch.testing.assert_close(orthogonalise(matrix), u * s @ vh, rtol=1e-6, atol=1e-6)
    assert (a, b, c) == (_muon.DEFAULT_A, _muon.DEFAULT_B, _muon.DEFAULT_C)


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (5, 5)])
def test_a_batch_of_matrices_is_each_of_them_and_tall_ones_are_wide_ones_transposed(shape):
    batch = random(2, 4, *shape)
    out = orthogonalise(batch)
    for i in range(2):
        for j in range(4):
            torch.testing.assert_close(out[i, j], orthogonalise(batch[i, j]), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(orthogonalise(batch.mT), out.mT, rtol=1e-8, atol=1e-8)


def test_a_matrix_of_zeros_stays_one():
    assert torch.equal(orthogonalise(torch.zeros(3, 4)), torch.zeros(3, 4))


# Muon

SHAPES = [(6, 4), (4, 6), (5, 5), (6, 4), (1, 7), (6, 4)]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("momentum", [0.95, 0.5])
def test_muon_is_torchs_in_float64(monkeypatch, weight_decay, momentum):
    """Torch's own code, with its bfloat16 taken away."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())
    ours, theirs = parameters(*SHAPES), parameters(*SHAPES)
    options = {"lr": 0.02, "weight_decay": weight_decay, "momentum": momentum}
    mine = Muon(ours, **options)
    torchs = torch.optim.Muon(theirs, **options, adjust_lr_fn="match_rms_adamw")
    for step in range(6):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        mine.step()
        torchs.step()
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)  # ours adds the 1e-7 that torch clamps at


def test_muon_in_float32_is_torchs_up_to_its_bfloat16():
    ours, theirs = (parameters(*SHAPES, dtype=torch.float32) for _ in range(2))
    mine = Muon(ours, 0.02, weight_decay=0.1)
    torchs = torch.optim.Muon(theirs, 0.02, 0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(6):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        mine.step()
        torchs.step()
    for a, b, start in zip(ours, theirs, parameters(*SHAPES, dtype=torch.float32), strict=True):
        assert (a - b).norm() < 0.02 * (b - start).norm()


def test_muon_is_its_formulas_written_out():
    rate, momentum, weight_decay = 0.03, 0.9, 0.2
    (p,) = parameters((4, 7))
    optimizer = Muon([p], rate, momentum, weight_decay)
    expected, average = p.detach().clone(), torch.zeros(4, 7)
    for step in range(4):
        give_gradients([p], step)
        average = momentum * average + (1 - momentum) * p.grad
        ahead = (1 - momentum) * p.grad + momentum * average
        direction = orthogonalise(ahead)
        expected = expected * (1 - rate * weight_decay) - rate * 0.2 * math.sqrt(7) * direction
        optimizer.step()
        torch.testing.assert_close(p.detach(), expected, rtol=1e-12, atol=1e-12)


def test_a_step_is_as_large_as_adamws_whatever_the_gradient():
    for shape in ((64, 64), (64, 256), (256, 64)):
        for scale in (1e-4, 1.0, 1e4):
            (p,) = parameters(shape)
            start = p.detach().clone()
            p.grad = scale * random(*shape, seed=5)
            Muon([p], lr=1.0).step()
            rms = (p.detach() - start).square().mean().sqrt().item()
            assert rms == pytest.approx(0.2, rel=0.15)


def test_all_dimensions_but_the_first_count_as_one():
    (kernel,) = parameters((6, 2, 3))
    flat = kernel.detach().flatten(1).clone().requires_grad_()
    one, two = Muon([kernel], 0.1, weight_decay=0.1), Muon([flat], 0.1, weight_decay=0.1)
    for step in range(3):
        kernel.grad = random(6, 2, 3, seed=step)
        flat.grad = kernel.grad.flatten(1)
        one.step()
        two.step()
    torch.testing.assert_close(kernel.detach().flatten(1), flat.detach(), rtol=1e-12, atol=1e-12)
    assert kernel.shape == (6, 2, 3)


def test_equal_shapes_in_one_batch_take_the_steps_that_each_takes_alone():
    together, alone = parameters(*SHAPES), parameters(*SHAPES)
    one, many = Muon(together, 0.1), [Muon([p], 0.1) for p in alone]
    for step in range(3):
        give_gradients(together, step)
        give_gradients(alone, step)
        one.step()
        for each in many:
            each.step()
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_a_parameter_without_a_gradient_is_left_alone_while_others_of_its_shape_move():
    params = parameters((4, 4), (4, 4), (4, 4), (3, 2))
    start = [p.detach().clone() for p in params]
    optimizer = Muon(params, 0.1, weight_decay=0.5)
    give_gradients(params, 0)
    params[1].grad = params[3].grad = None
    optimizer.step()
    assert [torch.equal(p, before) for p, before in zip(params, start, strict=True)] == [
        False,
        True,
        False,
        True,
    ]
    assert params[1] not in optimizer.state
    reference = Muon([start[2].requires_grad_()], 0.1, weight_decay=0.5)
    start[2].grad = params[2].grad.clone()
    reference.step()
    torch.testing.assert_close(params[2], start[2], rtol=1e-10, atol=1e-10)


def test_gradients_are_not_changed():
    params = parameters((4, 4), (4, 4))
    give_gradients(params, 0)
    before = [p.grad.clone() for p in params]
    Muon(params, 0.1).step()
    assert all(torch.equal(p.grad, grad) for p, grad in zip(params, before, strict=True))


def test_a_saved_state_goes_on_as_if_nothing_had_happened(tmp_path):
    params = parameters(*SHAPES)
    optimizer = Muon(params, 0.05, momentum=0.9, weight_decay=0.1)
    for step in range(3):
        give_gradients(params, step)
        optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    again = [p.detach().clone().requires_grad_() for p in params]
    other = Muon(again, 1.0)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert other.param_groups[0]["lr"] == 0.05
    for step in range(3, 6):
        for each, resumed in ((params, optimizer), (again, other)):
            give_gradients(each, step)
            resumed.step()
    assert all(torch.equal(a, b) for a, b in zip(params, again, strict=True))


def test_muon_can_be_driven_by_a_closure_as_every_optimizer_of_torch():
    (p,) = parameters((3, 4))
    optimizer = Muon([p], 0.01)
    before = p.detach().square().sum()

    def closure():
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == pytest.approx(before.item())
    assert p.detach().square().sum() < before
    assert optimizer.step() is None


# Which parameter gets which


MODELS = [
    lambda: GPT(GPTConfig(11, 8, n_layer=2, n_head=2, n_embd=8, tie_weights=True)),
    lambda: GPT(GPTConfig.modern(11, 8, n_layer=2, n_head=2, n_embd=8, tie_weights=False, qk_norm=True)),
    lambda: WaveNet(11, 4, (1, 2)),
]


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("name", ["adamw", "sgd", "muon"])
def test_every_parameter_is_in_one_group_and_decay_pulls_at_matrices_alone(make, name):
    model = make()
    optimizers = make_optimizers(model, name, 0.1, weight_decay=0.3)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    for group in groups:
        assert group["lr"] == 0.1 * group.get("lr_ratio", 1.0)
        assert {p.ndim >= 2 for p in group["params"]} == {group["weight_decay"] == 0.3}
    assert len(optimizers) == (2 if name == "muon" else 1)


@pytest.mark.parametrize("make", MODELS)
def test_muon_gets_the_hidden_matrices_and_adamw_the_tables_the_head_and_the_vectors(make):
    model = make()
    muon, adamw = make_optimizers(model, "muon", 0.1, betas=(0.8, 0.9))
    assert (type(muon), type(adamw)) == (Muon, torch.optim.AdamW)
    assert [id(p) for p in muon.param_groups[0]["params"]] == [id(p) for p in model.hidden_matrices()]
    rest = {id(p) for group in adamw.param_groups for p in group["params"]}
    outside = (
        (model.token_embedding.weight, model.head.weight)
        if isinstance(model, GPT)
        else (model.embedding.weight,)
    )
    assert {id(p) for p in outside} <= rest
    assert adamw.param_groups[0]["betas"] == (0.8, 0.9)


def test_beside_muon_adamw_takes_its_share_of_every_rate():
    muon, adamw = optimizers = make_optimizers(MODELS[0](), "muon", 0.1)

    def rates(optimizer):
        return {group["lr"] for group in optimizer.param_groups}

    assert (rates(muon), rates(adamw)) == ({0.1}, {ADAMW_BESIDE_MUON * 0.1})
    set_lr(optimizers, 0.05)
    assert (rates(muon), rates(adamw)) == ({0.05}, {ADAMW_BESIDE_MUON * 0.05})
    alone = make_optimizers(MODELS[0](), "adamw", 0.1)
    set_lr(alone, 0.05)
    assert rates(alone[0]) == {0.05}


def test_muon_with_adamw_learns_as_adamw_alone_does():
    losses = {}
    x = torch.randint(11, (16, 9), generator=seeded())
    for name in ("adamw", "muon"):
        model = GPT(GPTConfig(11, 8, n_layer=2, n_head=2, n_embd=16), seeded(1))
        optimizers = make_optimizers(model, name, 0.01)
        for _ in range(30):
            loss = nn.functional.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
            loss.backward()
            for each in optimizers:
                each.step()
                each.zero_grad()
        losses[name] = loss.item()
    assert max(losses.values()) < 1.9 < math.log(11)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (
            lambda: Muon(parameters((3, 4), (4,)), 0.1),
            r"updates matrices, not a parameter of shape \(4,\); give it to",
        ),
        (lambda: Muon(parameters(()), 0.1), r"shape \(\)"),
        (
            lambda: make_optimizers(MLP(5, 2), "muon", 0.1),
            r"give MLP a method hidden_matrices\(\).*or use \"adamw\"",
        ),
        (
            lambda: make_optimizers(MLP(5, 2), "lion", 0.1),
            'an optimizer is "adamw", "sgd" or "muon", got \'lion\'',
        ),
        (lambda: make_optimizer([], "adamw", 0.1), "no parameters to train"),
    ],
)
def test_a_mistake_gets_a_sentence(use, message):
    with pytest.raises(ValueError, match=message):
        use()
