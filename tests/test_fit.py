"""The training loop against torch's own optimizers and schedules, and what happens when training goes wrong."""

from __future__ import annotations

import itertools
import math
import os
import re
import signal
import threading

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nnhelpers import evaluation
from nnhelpers.batches import minibatches
from nnhelpers.fit import Log, batch_loss, fit, n_parameters, range_test
from nnhelpers.mlp import MLP
from nnhelpers.optim import lr_factor, make_optimizer

X = torch.randint(0, 27, (200, 3), generator=torch.Generator().manual_seed(0))
Y = (X.sum(dim=1)) % 27


def network(seed=0, **options):
    return MLP(27, 3, 4, 16, generator=torch.Generator().manual_seed(seed), **options)


def batches(size=50):
    return minibatches(X, Y, size, seed=1)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# Batches


@given(n=st.integers(1, 40), size=st.integers(1, 50), seed=st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_each_pass_shows_each_example_at_most_once_and_full_batches_only(n, size, seed):
    size_used = min(size, n)
    per_pass = n // size_used
    stream = minibatches(torch.arange(n), torch.arange(n), size, seed)
    for _ in range(3):
        seen = torch.cat([x for x, y in itertools.islice(stream, per_pass) if torch.equal(x, y)])
        assert len(seen) == per_pass * size_used
        assert len(seen.unique()) == len(seen)


def test_the_order_depends_on_the_seed_alone():
    first = [x.tolist() for x, _ in itertools.islice(minibatches(X, Y, 64, seed=3), 5)]
    torch.manual_seed(99)
    assert first == [x.tolist() for x, _ in itertools.islice(minibatches(X, Y, 64, seed=3), 5)]
    assert first != [x.tolist() for x, _ in itertools.islice(minibatches(X, Y, 64, seed=4), 5)]


# The learning rate


@pytest.mark.parametrize("n", [10, 11, 100, 1000])
def test_one_cycle_is_torchs(n):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=n)
    for step in range(n):
        assert lr_factor(step, n) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6, abs=1e-9)
        optimizer.step()
        if step < n - 1:
            theirs.step()


def test_cosine_is_torchs_after_a_straight_warm_up():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=89, eta_min=0.1)
    for step in range(10):
        assert lr_factor(step, 100, "cosine", warmup_steps=10, min_lr_ratio=0.1) == pytest.approx(
            (step + 1) / 11
        )
    for step in range(10, 100):
        got = lr_factor(step, 100, "cosine", warmup_steps=10, min_lr_ratio=0.1)
        assert got == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()


@given(
    n=st.integers(1, 50),
    schedule=st.sampled_from(["constant", "cosine", "one_cycle"]),
    warmup=st.integers(0, 60),
)
def test_every_factor_lies_between_0_and_1(n, schedule, warmup):
    warmup = 0 if schedule == "one_cycle" else warmup
    assert all(0.0 <= lr_factor(step, n, schedule, warmup) <= 1.0 for step in range(n))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_a_single_step_has_the_full_learning_rate(schedule):
    assert lr_factor(0, 1, schedule) == 1.0
    assert fit(network(), batches(), 1, 0.1, schedule=schedule).lrs == [0.1]


# The loop


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("grad_clip", [None, 0.05])
def test_fit_takes_the_steps_of_a_loop_written_out_with_torch(optimizer, grad_clip):
    ours, theirs = network(), network()
    options = {"optimizer": optimizer, "weight_decay": 0.1, "grad_clip": grad_clip, "schedule": "cosine"}
    log = fit(ours, batches(), 30, 0.02, **options)
    matrices = [p for p in theirs.parameters() if p.ndim >= 2]
    rest = [p for p in theirs.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    make = {
        "adamw": lambda: torch.optim.AdamW(groups, lr=0.02, betas=(0.9, 0.99)),
        "sgd": lambda: torch.optim.SGD(groups, lr=0.02),
    }
    torchs = make[optimizer]()
    for step, (x, y) in enumerate(itertools.islice(batches(), 30)):
        for group in torchs.param_groups:
            group["lr"] = 0.02 * (1 + math.cos(math.pi * step / 29)) / 2
        loss = F.cross_entropy(theirs(x), y)
        torchs.zero_grad()
        loss.backward()
        if grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), grad_clip)
        torchs.step()
        assert log.losses[step] == pytest.approx(loss.item(), abs=1e-5)
    torch.testing.assert_close(weights(ours), weights(theirs), rtol=1e-4, atol=1e-5)
    assert log.lrs[0] == 0.02
    assert len(log.losses) == len(log.lrs) == 30


@pytest.mark.parametrize(("disable", "bar"), [("0", True), ("", True), ("1", False)])
def test_the_same_bytes_with_or_without_a_progress_bar(capsys, monkeypatch, disable, bar):
    monkeypatch.setenv("TQDM_DISABLE", disable)
    logs = []
    for progress in (True, False):
        model = network()
        logs.append((fit(model, batches(), 20, 0.01, progress=progress).losses, weights(model)))
        assert ("20/20" in capsys.readouterr().err) == (progress and bar)
    assert logs[0][0] == logs[1][0]
    assert torch.equal(logs[0][1], logs[1][1])


def test_a_model_left_in_eval_mode_is_trained_in_training_mode():
    model = network(norm="batch").eval()
    fit(model, batches(), 3, 0.01)
    assert model.layers[3].num_batches_tracked == 3


def test_modules_of_torch_and_sequence_models_can_be_fitted():
    model = nn.Sequential(nn.Embedding(27, 8), nn.Linear(8, 27))  # (B, T) -> (B, T, V)
    log = fit(model, minibatches(X, X.roll(1, dims=1), 50), 40, 0.05)
    assert log.losses[-1] < log.losses[0]
    assert n_parameters(model) == 27 * 8 + 8 * 27 + 27


def test_the_validation_loss_is_that_of_a_full_pass_in_eval_mode():
    model = network(norm="batch")
    log = fit(model, batches(), 25, 0.01, val=(X, Y), eval_every=10)
    assert log.val_steps == [0, 10, 20, 25]
    assert log.val_losses[-1] == evaluation.nll(model, X, Y)
    assert log.val_losses[0] == evaluation.nll(network(norm="batch"), X, Y)
    assert model.training
    assert fit(model, batches(), 1, 0.01, val=(X, Y)).val_steps == [0, 1]


def test_after_step_is_called_after_each_update():
    model, seen = network(), []
    fit(model, batches(), 3, 0.01, after_step=lambda: seen.append(weights(model)))
    assert len(seen) == 3
    assert torch.equal(seen[-1], weights(model))


def test_the_log_is_smoothed_by_means_of_so_many_steps():
    log = Log(losses=[1.0, 3.0, 5.0, 7.0, 9.0])
    assert log.smoothed(2) == ([0.5, 2.5, 4.0], [2.0, 6.0, 9.0])


# When it goes wrong


def test_a_loss_that_is_not_finite_stops_with_step_rate_and_last_finite_loss_and_keeps_the_weights():
    model, good = network(), []
    stream = itertools.chain(itertools.islice(batches(), 4), batches())

    def poison():
        good.append(weights(model))
        if len(good) == 4:
            with torch.no_grad():
                model.parameters()[-1][0] = math.nan

    with pytest.raises(
        FloatingPointError, match=r"loss is nan at step 4, learning rate 0.01; the last finite loss was \d"
    ):
        fit(model, stream, 10, 0.01, schedule="constant", after_step=poison)
    with torch.no_grad():
        model.parameters()[-1][0] = good[-1][-27]
    assert torch.equal(weights(model), good[-1])


def test_a_model_that_begins_with_nan_is_told_so():
    model = network()
    with torch.no_grad():
        model.parameters()[0].fill_(math.nan)
    with pytest.raises(FloatingPointError, match=r"at step 0.*no loss was finite before"):
        fit(model, batches(), 10, 0.01)


def test_ctrl_c_ends_after_the_current_step_with_its_log():
    before = signal.getsignal(signal.SIGINT)
    model, steps = network(), itertools.count(1)
    log = fit(
        model,
        batches(),
        100,
        0.01,
        val=(X, Y),
        after_step=lambda: os.kill(os.getpid(), signal.SIGINT) if next(steps) == 7 else None,
    )
    assert log.interrupted
    assert len(log.losses) == 7
    assert log.val_steps == [0, 7]
    assert log.val_losses[-1] == evaluation.nll(model, X, Y)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_stops_at_once_and_the_handler_is_put_back():
    before = signal.getsignal(signal.SIGINT)

    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(network(), batches(), 100, 0.01, after_step=twice)
    assert signal.getsignal(signal.SIGINT) is before


def test_fit_runs_in_a_thread_that_hears_no_signals():
    logs = []
    thread = threading.Thread(target=lambda: logs.append(fit(network(), batches(), 3, 0.01, progress=False)))
    thread.start()
    thread.join()
    assert len(logs[0].losses) == 3


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: fit(network(), batches(), 10, 0.0), "lr must be finite and above 0, got 0.0"),
        (lambda: fit(network(), batches(), 10, math.nan), "got nan"),
        (lambda: fit(network(), batches(), 10, -1.0), "got -1.0"),
        (lambda: fit(network(), batches(), 10, math.inf), "got inf"),
        (lambda: fit(network(), batches(), 0, 0.1), "n_steps and eval_every must be at least 1"),
        (lambda: fit(network(), batches(), 1, 0.1, eval_every=0), "got 1 and 0"),
        (lambda: fit(network(), batches(), 1, 0.1, weight_decay=-1), "weight_decay must be"),
        (lambda: fit(network(), batches(), 1, 0.1, grad_clip=0), "grad_clip is the largest norm"),
        (lambda: fit(network(), batches(), 1, 0.1, schedule="linear"), "constant, cosine, one_cycle"),
        (lambda: fit(network(), batches(), 1, 0.1, optimizer="lion"), '"sgd" or "muon", got \'lion\''),
        (lambda: fit(nn.Sequential(), batches(), 1, 0.1), "no parameters to train"),
        (lambda: fit(network(), batches(), 9, 0.1, warmup_steps=3), "one_cycle has a rise of its own"),
        (lambda: fit(network(), minibatches(X, Y + 1, 200), 1, 0.1), r"targets must lie in 0..26"),
        (lambda: fit(network(), minibatches(X, Y - 100, 200), 1, 0.1), r"targets must lie in 0..26"),
        (
            lambda: fit(network(), minibatches(X[:, :2], Y, 9), 1, 0.1),
            r"reads windows \(N, 3\), got \(9, 2\)",
        ),
        (lambda: minibatches(X, Y[:-1], 10), "equally many and not empty: 200 and 199"),
        (lambda: minibatches(X[:0], Y[:0], 10), "not empty"),
        (lambda: minibatches(X, Y, 0), "at least one example, got batch_size=0"),
    ],
)
def test_a_mistake_gets_a_sentence(use, message):
    with pytest.raises(ValueError, match=message):
        use()


def test_weight_decay_pulls_at_matrices_only():
    model = network(norm="batch")
    decayed, free = make_optimizer(model.parameters(), "adamw", 0.1, 0.5).param_groups
    assert decayed["weight_decay"] == 0.5
    assert free["weight_decay"] == 0.0
    assert {p.ndim for p in decayed["params"]} == {2}
    assert {p.ndim for p in free["params"]} == {1}


def test_the_batch_loss_is_the_mean_cross_entropy():
    model = network()
    assert batch_loss(model, X, Y).item() == pytest.approx(evaluation.nll(model, X, Y), abs=1e-6)


def test_batches_that_end_early_end_the_training_with_a_warning_and_its_log():
    model = network()
    with pytest.warns(UserWarning, match="ended after 3 of 9 steps"):
        log = fit(model, itertools.islice(batches(), 3), 9, 0.01, val=(X, Y))
    assert len(log.losses) == 3
    assert log.val_losses[-1] == evaluation.nll(model, X, Y)
    assert repr(log).startswith(f"Log(3 steps, loss {log.losses[-1]:.4f}, validation loss ")


# A loss of one's own


def smoothed(logits, targets):
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=-1, label_smoothing=0.2)


def test_a_loss_of_ones_own_takes_the_place_of_the_cross_entropy():
    ours, theirs = network(), network()
    log = fit(ours, batches(), 20, 0.1, optimizer="sgd", schedule="constant", loss=smoothed)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for step, (x, y) in enumerate(itertools.islice(batches(), 20)):
        optimizer.zero_grad()
        loss = smoothed(theirs(x), y)
        loss.backward()
        optimizer.step()
        assert log.losses[step] == pytest.approx(loss.item(), abs=1e-5)
    torch.testing.assert_close(weights(ours), weights(theirs), rtol=1e-4, atol=1e-5)


def test_the_validation_loss_is_of_that_kind_too_and_a_full_pass_in_eval_mode(monkeypatch):
    model = nn.Sequential(nn.Embedding(27, 8), nn.Dropout(0.5), nn.Linear(8, 27))
    x, y = X[:50], X[:50].roll(1, dims=1).clone()
    y[::3, 1:] = -1  # so that pieces have different numbers of targets
    y[:7] = -1  # and some none
    expected = smoothed(model.eval()(x), y).item()
    monkeypatch.setattr("nnhelpers.fit.VAL_BATCH", 10)
    log = fit(model, minibatches(x, y, 50), 1, 1e-9, loss=smoothed, val=(x, y))
    assert log.val_losses[0] == pytest.approx(expected, abs=1e-5)
    assert model.training


def test_regression_is_a_loss_of_ones_own():
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]])
    y[:9] = -1.0  # a number like any other
    features = torch.cat([x, torch.ones(64, 1)], dim=1)
    least = F.mse_loss(features @ torch.linalg.lstsq(features, y).solution, y).item()
    model = nn.Linear(3, 1)
    log = fit(model, minibatches(x, y, 64), 300, 0.1, loss=F.mse_loss, val=(x, y))
    assert log.val_losses[0] == pytest.approx(log.losses[0], rel=1e-5)
    assert log.best_val_loss == pytest.approx(least, rel=1e-3)


class Returns(nn.Module):
    """A model whose forward returns something else than logits alone."""

    def __init__(self, wrap):
        super().__init__()
        self.table, self.wrap = nn.Embedding(27, 27), wrap

    def forward(self, x):
        return self.wrap(self.table(x[:, -1]))


class Output:
    def __init__(self, logits):
        self.logits = logits


@pytest.mark.parametrize(
    ("wrap", "said", "within"),
    [
        (lambda logits: (logits, None), "a tuple of 2", "[0]"),
        (lambda logits: [logits], "a list of 1", "[0]"),
        (lambda logits: {"loss": None, "logits": logits}, "a dictionary of 'loss', 'logits'", "['logits']"),
        (lambda logits: {"scores": logits}, "a dictionary of 'scores'", "['scores']"),
        (Output, "Output", ".logits"),
    ],
)
def test_a_model_that_does_not_return_logits_alone_is_told_which_loss_to_pass_and_it_works(
    wrap, said, within
):
    model = Returns(wrap)
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        fit(model, batches(), 3, 0.1)
    hint = str(error.value).split("or pass loss=")[1]
    assert f"output{within}" in hint
    loss = eval(hint, {"F": F})
    log = fit(model, batches(), 3, 0.1, loss=loss, val=(X, Y))
    plain = Returns(lambda logits: logits)
    plain.load_state_dict(model.state_dict())
    assert log.val_losses[-1] == pytest.approx(evaluation.nll(plain, X, Y), abs=1e-5)
    with pytest.raises(ValueError, match=re.escape(f"lambda ids: model(ids){within}")):
        evaluation.nll(model, X, Y)


def test_a_model_that_computes_its_own_loss_is_fitted_by_it():
    model = Returns(lambda logits: logits.square().mean())
    with pytest.raises(
        ValueError, match=r"returned one number, .* pass loss=lambda output, targets: output$"
    ):
        fit(model, batches(), 3, 0.1)
    log = fit(model, batches(), 30, 0.1, loss=lambda output, targets: output)
    assert log.losses[-1] < log.losses[0]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (
            lambda: fit(network(), batches(), 1, 0.1, loss=nn.CrossEntropyLoss(reduction="none")),
            r"has to return one number, .* got a tensor of shape \(50,\); take the mean",
        ),
        (lambda: fit(network(), batches(), 1, 0.1, loss=lambda o, y: 1.5), "got float"),
        (lambda: fit(network(), batches(), 1, 0.1, loss=lambda o, y: None), r"got nothing \(None\)"),
        (
            lambda: fit(network(), batches(), 1, 0.1, loss=lambda o, y: F.cross_entropy(o.detach(), y)),
            "does not depend on a parameter that can be trained",
        ),
        (lambda: fit(Returns(lambda logits: None), batches(), 1, 0.1), r"returned nothing \(None\)"),
        (lambda: fit(Returns(lambda o: o.argmax(-1, True)), batches(), 1, 0.1), "logits are decimals"),
        (lambda: fit(network(), (X, Y), 1, 0.1), r"a batch is a pair .* a tensor of shape \(200, 3\)"),
        (lambda: fit(network(), [(X, Y, X)], 1, 0.1), "a batch is a pair .* a tuple of 3"),
        (lambda: fit(network(), [([1], [2])], 1, 0.1), "a batch is a pair"),
        (lambda: fit(network(), batches(), 1, 0.1, val=X), "val is a pair"),
        (lambda: fit(network(), batches(), 1, 0.1, val=batches()), "val is a pair .* got generator"),
        (lambda: fit(network(), batches(), 1, 0.1, val=(X, Y[1:])), "equally many and not empty"),
        (lambda: fit(network(), batches(), 1, 0.1, val=(X[:0], Y[:0])), "equally many and not empty"),
        (lambda: fit(network(), batches(), 1, 0.1, val=(X, 0 * Y - 1)), "every target is -1"),
        (
            lambda: fit(network(), batches(), 1, 0.1, val=(X, 0 * Y - 1), loss=smoothed),
            "every target is -1",
        ),
        (lambda: fit(network(), [(X, 0 * Y - 1)], 1, 0.1), "every target of this batch is -1"),
        (lambda: fit(network(), [(X[:0], Y[:0])], 1, 0.1), "there is at least one"),
        (
            lambda: fit(network(), [(X, Y.double())], 1, 0.1),
            r"whole numbers, got torch.float64; call .long\(\)",
        ),
        (lambda: fit(network(), batches(), 1, 0.1, device="banana"), "no device 'banana' here"),
        (lambda: fit(network(), batches(), 1, 0.1, device="cuda:99"), "no device 'cuda:99' here"),
        (lambda: fit(network(), batches(), 1, 0.1, keep_best=True), r"give val=\(inputs, targets\)"),
    ],
)
def test_a_mistake_with_a_loss_a_batch_or_a_device_gets_a_sentence(use, message):
    with pytest.raises(ValueError, match=message) as error:
        use()
    assert "\n" not in str(error.value)


def test_targets_may_be_any_whole_numbers():
    expected = fit(network(), batches(), 3, 0.1).losses
    small = minibatches(X, Y.to(torch.int32), 50, seed=1)
    assert fit(network(), small, 3, 0.1, val=(X, Y.to(torch.int16))).losses == expected


# The device


def test_the_model_goes_to_the_device_before_its_optimizer_is_made_and_the_batches_follow():
    places = []

    class Moving(nn.Linear):
        def to(self, *arguments):
            places.append(arguments)
            return super().to(*arguments)

    log = fit(Moving(3, 27), minibatches(X.float(), Y, 50), 2, 0.01, device="cpu", val=(X.float(), Y))
    assert places == [("cpu",)]
    assert len(log.losses) == 2
    assert fit(network(), batches(), 3, 0.01, device=torch.device("cpu")).losses == (
        fit(network(), batches(), 3, 0.01).losses
    )


def test_a_model_that_cannot_be_moved_is_told_so():
    class Bare:
        parameters = train = eval = __call__ = lambda self, *_: []

    with pytest.raises(ValueError, match=r"Bare has no method to\(device\)"):
        fit(Bare(), batches(), 1, 0.1, device="cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("norm", [None, "batch"])
def test_on_a_gpu_the_losses_are_those_of_the_cpu(norm):
    here, there = network(norm=norm), network(norm=norm)
    options = {"val": (X, Y), "eval_every": 5, "keep_best": True}
    log = fit(here, batches(), 20, 0.01, **options)
    cuda = fit(there, batches(), 20, 0.01, device="cuda", **options)
    assert {p.device.type for p in there.parameters()} == {"cuda"}
    assert cuda.losses == pytest.approx(log.losses, abs=1e-4)
    assert cuda.val_losses == pytest.approx(log.val_losses, abs=1e-4)


# The best step


def rising_then_falling():
    """A validation loss of 3, 1, 2, 1, 5, ... at steps 0, 2, 4, ..., whatever the model."""
    values = iter([3.0, 1.0, 2.0, 1.0, 5.0, 4.0])
    return lambda output, targets: output.sum() * 0 + (0.0 if torch.is_grad_enabled() else next(values))


def kept(model):
    buffers = [b.flatten().float() for _, b in model.named_buffers()]
    return torch.cat([weights(model), *buffers]).clone()


@pytest.mark.parametrize("options", [{}, {"norm": "batch"}])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_keep_best_leaves_the_numbers_of_the_lowest_validation_loss(options, optimizer):
    model, seen = network(**options), []
    # every parameter moves at every step, whatever the gradient
    log = fit(
        model,
        batches(),
        10,
        0.05,
        optimizer=optimizer,
        weight_decay=0.1,
        schedule="constant",
        loss=rising_then_falling(),
        val=(X, Y),
        eval_every=2,
        keep_best=True,
        after_step=lambda: seen.append(kept(model)),
    )
    assert log.val_losses == [3.0, 1.0, 2.0, 1.0, 5.0, 4.0]
    assert (log.best_step, log.best_val_loss, log.kept_best) == (2, 1.0, True)
    assert torch.equal(kept(model), seen[1])
    if options:
        assert not torch.equal(seen[1], seen[-1])
    assert repr(log).startswith(
        "Log(10 steps, loss 0.0000, validation loss 4.0000, the best 1.0000 of step 2 kept"
    )
    assert model.training


def test_the_kept_model_has_the_loss_that_the_log_says_also_for_modules_of_torch():
    x, y = X[:20], Y[:20].roll(3)  # too few to learn from
    model = nn.Sequential(
        nn.Embedding(27, 16),
        nn.Flatten(),
        nn.Linear(48, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 27),
    )
    log = fit(model, minibatches(x, y, 20), 120, 0.05, val=(X[20:], Y[20:]), eval_every=5, keep_best=True)
    assert log.best_val_loss == min(log.val_losses) < log.val_losses[-1]
    assert evaluation.nll(model, X[20:], Y[20:]) == pytest.approx(log.best_val_loss, abs=1e-6)


def test_without_keep_best_the_log_names_the_best_step_and_the_model_is_that_of_the_last():
    model, seen = network(), []
    log = fit(
        model,
        batches(),
        10,
        0.05,
        loss=rising_then_falling(),
        val=(X, Y),
        eval_every=2,
        after_step=lambda: seen.append(kept(model)),
    )
    assert (log.best_step, log.best_val_loss, log.kept_best) == (2, 1.0, False)
    assert torch.equal(kept(model), seen[-1])
    empty = fit(network(), batches(), 1, 0.1)
    assert (empty.best_step, empty.best_val_loss) == (None, None)
    assert Log(val_steps=[0, 5, 9], val_losses=[math.nan, 2.0, math.nan]).best_step == 5


def test_the_best_numbers_are_kept_when_training_diverges():
    model, seen = network(), []

    def poison():
        seen.append(weights(model))
        if len(seen) == 7:
            with torch.no_grad():
                model.parameters()[-1][0] = math.nan

    with pytest.raises(FloatingPointError, match="at step 7"):
        fit(model, batches(), 20, 0.01, val=(X, Y), eval_every=5, keep_best=True, after_step=poison)
    assert torch.equal(weights(model), seen[4])


# The range test


def test_the_range_test_gives_each_rate_a_fresh_model_and_the_same_batches():
    rates = [1e-4, 0.03, 1e4]
    losses = range_test(network, batches, rates, n_steps=40)
    assert losses == range_test(network, batches, rates, n_steps=40)
    assert losses[1] == range_test(network, batches, [0.03], n_steps=40)[0]
    assert losses[1] < losses[0] < losses[2]


def test_the_range_test_takes_the_mean_of_the_last_quarter():
    log = fit(network(), batches(), 40, 0.03, schedule="constant")
    assert range_test(network, batches, [0.03], n_steps=40) == [sum(log.losses[30:]) / 10]


def test_the_range_test_passes_the_settings_of_a_training_on():
    settings = {"weight_decay": 0.5, "grad_clip": 0.01, "loss": smoothed, "device": "cpu"}
    log = fit(network(), batches(), 8, 0.3, schedule="constant", **settings)
    assert range_test(network, batches, [0.3], n_steps=8, **settings) == [sum(log.losses[6:]) / 2]


def test_a_rate_that_diverges_counts_as_infinite():
    assert range_test(network, batches, [1e30], n_steps=20, optimizer="sgd") == [math.inf]
