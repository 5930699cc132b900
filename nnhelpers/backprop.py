"""Lecture 5: backward functions written by hand, one for each layer of the course.

Each takes `dout`, the gradient of the loss with respect to the layer's output, and what the forward pass saw; it
returns the gradients with respect to the layer's inputs, in their order. Autograd is not used, no argument is
changed, and results have the dtype of what came in. A tensor whose shape does not fit raises `ValueError`.
Source of the idea: backpropagation, Rumelhart, Hinton and Williams 1986.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _check_shapes(**tensors: tuple[Tensor, str]) -> None:
    """Raise ValueError unless each tensor has the axes named, e.g. "... T C"; a name has one size everywhere."""
    sizes: dict[str, int | tuple[int, ...]] = {}
    for name, (tensor, axes) in tensors.items():
        names, shape = axes.split(), tuple(tensor.shape)
        given: tuple = shape
        if names[0] == "...":  # stands for any number of leading axes
            n_leading = len(shape) - len(names) + 1
            given = (shape[:n_leading], *shape[n_leading:])
        if len(given) != len(names) or any(
            sizes.setdefault(axis, size) != size for axis, size in zip(names, given, strict=True)
        ):
            known = ", ".join(f"{axis} = {sizes[axis]}" for axis in names if axis in sizes)
            expected = f"({', '.join(names)})" + (f" with {known}" if known else "")
            raise ValueError(f"{name} has shape {shape}, expected {expected}")


def _check_ids(name: str, ids: Tensor, size: int) -> None:
    if ids.dtype != torch.int64:
        raise ValueError(f"{name} are token ids and must be int64, got {ids.dtype}")
    if ids.numel() and not (0 <= int(ids.min()) and int(ids.max()) < size):
        raise ValueError(f"{name} must lie in 0..{size - 1}, got {ids.min()}..{ids.max()}")


# The loss and the layers of the MLP


def cross_entropy_backward(logits: Tensor, targets: Tensor) -> Tensor:
    """Of the mean of -ln softmax(logits)[target]: dlogits = (softmax(logits) - onehot(targets)) / n.

    Logits (..., V) and n >= 1 targets (...) int64 in 0..V-1 give dlogits (..., V); anything else raises ValueError.
    """
    _check_shapes(logits=(logits, "... V"), targets=(targets, "..."))
    if not targets.numel():
        raise ValueError("the mean loss needs at least one target, got none")
    _check_ids("targets", targets, logits.shape[-1])
    onehot = F.one_hot(targets, logits.shape[-1])
    return (torch.softmax(logits, dim=-1) - onehot) / targets.numel()


def linear_backward(dout: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of out = x Wᵀ + b: dx = dout W, dW = doutᵀ x and db = Σ dout, both summed over all rows.

    dout (..., out), x (..., in), weight (out, in) as in torch.nn.Linear; returns dx, dweight and dbias (out,).
    """
    _check_shapes(x=(x, "... in"), weight=(weight, "out in"), dout=(dout, "... out"))
    rows, dout_rows = x.reshape(-1, x.shape[-1]), dout.reshape(-1, dout.shape[-1])  # (n, in), (n, out)
    return dout @ weight, dout_rows.T @ rows, dout_rows.sum(0)


def relu_backward(dout: Tensor, x: Tensor) -> Tensor:
    """Of out = max(x, 0): dx = dout where x > 0, else 0, so the slope at 0 is 0 as in torch. All one shape (...)."""
    _check_shapes(x=(x, "..."), dout=(dout, "..."))
    return dout.masked_fill(x <= 0, 0.0)


def tanh_backward(dout: Tensor, out: Tensor) -> Tensor:
    """Of out = tanh(x): dx = dout (1 - out²), from the output alone. All one shape (...)."""
    _check_shapes(out=(out, "..."), dout=(dout, "..."))
    return dout * (1 - out.square())


def embedding_backward(dout: Tensor, ids: Tensor, vocab_size: int) -> Tensor:
    """Of out = table[ids]: dtable[v] = Σ dout over the places where ids = v; repeated ids add up.

    dout (..., C) and ids (...) int64 in 0..vocab_size-1 give dtable (vocab_size, C); other ids raise ValueError.
    """
    _check_shapes(ids=(ids, "..."), dout=(dout, "... C"))
    _check_ids("ids", ids, vocab_size)
    n_embd = dout.shape[-1]
    return dout.new_zeros(vocab_size, n_embd).index_add_(0, ids.flatten(), dout.reshape(-1, n_embd))


# Normalization


def _standardize(x: Tensor, dims: list[int], eps: float) -> tuple[Tensor, Tensor]:
    """x̂ = (x - mean) · rstd and rstd = 1 / √(variance + eps), with the mean and biased variance over `dims`."""
    centred = x - x.mean(dims, keepdim=True)
    rstd = (centred.square().mean(dims, keepdim=True) + eps).rsqrt()
    return centred * rstd, rstd


def batch_norm_backward(
    dout: Tensor, x: Tensor, gamma: Tensor, eps: float = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    """Of out = gamma · x̂ + beta in training: dx = gamma · rstd · (dout - mean(dout) - x̂ · mean(dout · x̂)).

    x and dout (N, C) or (N, C, L) as in torch.nn.BatchNorm1d, gamma (C,). Means, and the statistics in x̂ (the
    variance is biased), run over N and L. Returns dx, dgamma = Σ dout · x̂ and dbeta = Σ dout, both (C,).
    Ioffe and Szegedy 2015.
    """
    axes = "N C" if x.ndim < 3 else "N C L"
    _check_shapes(x=(x, axes), gamma=(gamma, "C"), dout=(dout, axes))
    dims = [0] if x.ndim == 2 else [0, 2]
    xhat, rstd = _standardize(x, dims, eps)
    gamma = gamma if x.ndim == 2 else gamma[:, None]
    dx = gamma * rstd * (dout - dout.mean(dims, keepdim=True) - xhat * (dout * xhat).mean(dims, keepdim=True))
    return dx, (dout * xhat).sum(dims), dout.sum(dims)


def layer_norm_backward(
    dout: Tensor, x: Tensor, gamma: Tensor, eps: float = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    """Of out = gamma · x̂ + beta: dx = rstd · (dx̂ - mean(dx̂) - x̂ · mean(dx̂ · x̂)) with dx̂ = gamma · dout.

    x and dout (..., C), gamma (C,). Means, and the statistics in x̂ (the variance is biased), run over C. Returns
    dx, dgamma = Σ dout · x̂ and dbeta = Σ dout, both (C,) and summed over all rows. Ba, Kiros and Hinton 2016.
    """
    _check_shapes(x=(x, "... C"), gamma=(gamma, "C"), dout=(dout, "... C"))
    xhat, rstd = _standardize(x, [-1], eps)
    dxhat = dout * gamma
    dx = rstd * (dxhat - dxhat.mean(-1, keepdim=True) - xhat * (dxhat * xhat).mean(-1, keepdim=True))
    n_embd = x.shape[-1]
    return dx, (dout * xhat).reshape(-1, n_embd).sum(0), dout.reshape(-1, n_embd).sum(0)


# Mixing positions


def softmax_backward(dout: Tensor, probs: Tensor) -> Tensor:
    """Of probs = softmax(x) over the last axis: dx = probs · (dout - Σ dout · probs). All one shape (..., V)."""
    _check_shapes(probs=(probs, "... V"), dout=(dout, "... V"))
    return probs * (dout - (dout * probs).sum(-1, keepdim=True))


def attention_backward(
    dout: Tensor, q: Tensor, k: Tensor, v: Tensor, causal: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Of out = P v, P = softmax(S), S = q kᵀ / √C: dv = Pᵀ dout, dq = dS k / √C and dk = dSᵀ q / √C.

    dS is `softmax_backward` of dP = dout vᵀ. All are (..., T, C) with C the head size; with `causal` no position
    sees a later one. Returns dq, dk, dv. Vaswani et al. 2017.
    """
    _check_shapes(q=(q, "... T C"), k=(k, "... T C"), v=(v, "... T C"), dout=(dout, "... T C"))
    scale = q.shape[-1] ** -0.5
    scores = q @ k.mT * scale  # (..., T, T)
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    probs = torch.softmax(scores, dim=-1)
    dscores = softmax_backward(dout @ v.mT, probs) * scale
    return dscores @ k, dscores.mT @ q, probs.mT @ dout


def causal_conv_backward(
    dout: Tensor, x: Tensor, weight: Tensor, dilation: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Of out[t] = b + Σₖ W[k] x[t - sₖ], sₖ = dilation · (K-1-k): dx[t] = Σₖ W[k]ᵀ dout[t + sₖ].

    dW[k] = Σₜ dout[t] x[t - sₖ]ᵀ and db = Σ dout; what lies outside 0..T-1 is 0. x (B, C_in, T), weight (C_out,
    C_in, K) and dout (B, C_out, T) are those of F.conv1d after dilation · (K-1) zeros on the left. Returns dx,
    dweight and dbias (C_out,). A dilation below 1 raises ValueError. WaveNet, van den Oord et al. 2016.
    """
    _check_shapes(x=(x, "B C_in T"), weight=(weight, "C_out C_in K"), dout=(dout, "B C_out T"))
    if dilation < 1:
        raise ValueError(f"the dilation is a distance between taps and at least 1, got {dilation}")
    n_steps, n_taps = x.shape[-1], weight.shape[-1]
    dx, dweight = torch.zeros_like(x), torch.zeros_like(weight)
    for tap in range(n_taps):
        shift = min(dilation * (n_taps - 1 - tap), n_steps)  # from n_steps on, the tap sees only zeros
        late, early = dout[..., shift:], x[..., : n_steps - shift]
        dx[..., : n_steps - shift] += weight[..., tap].T @ late
        dweight[..., tap] = (late @ early.mT).sum(0)
    return dx, dweight, dout.sum((0, 2))
