"""How good a language model is, and how sure one can be of it. Losses are in nats per token.

A loss is a full pass over a split, never a random minibatch, and stands beside its standard error. A difference
smaller than that is not a finding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .batches import text_windows
from .contracts import NO_TARGET, LanguageModel, Tokenizer
from .terminal import eval_mode


def token_nll(model: LanguageModel, inputs: Tensor, targets: Tensor, batch_size: int = 8192) -> Tensor:
    """-ln p of every target, in nats, float64, in the shape of `targets`: (N,) or (B, T); NaN where there is none (-1).

    `model` maps inputs (N, block) to logits (N, V), or (B, T) to (B, T, V). It runs in eval mode and without
    gradients, on about `batch_size` targets at a time; its mode is restored. Inputs go to the model's device, and the
    losses come back from it. Each loss is computed in the precision of the logits, float32 at least: one of float32 is
    exact to about 1e-5 nats, their mean to 1e-6. Logits that are NaN raise `FloatingPointError`.
    """
    check_model(model)
    inputs, targets = _tensor(inputs), _tensor(targets)
    check_examples(inputs, targets)
    n_rows, device = max(1, batch_size // targets[0].numel()), device_of(model)
    losses = []
    with eval_mode(model):
        for x, y in zip(inputs.split(n_rows), targets.split(n_rows), strict=True):
            x, y = x.to(device), y.to(device)
            losses.append(_cross_entropies(model(x), y).to(targets.device))
    # float64: the small differences between models are sums of a million terms, which float32 would round
    return torch.cat(losses).double()


def check_model(model: Any) -> None:
    """Raise `ValueError` for what cannot be called with ids, such as a class in place of a model of it."""
    if isinstance(model, type) or not callable(model):
        got = (
            f"the class {model.__name__}; call it first" if isinstance(model, type) else type(model).__name__
        )
        raise ValueError(f"a model is called with ids and returns logits, but this is {got}")


def _tensor(numbers: Any) -> Tensor:
    """Ids or losses as a tensor; `ValueError` for what is not made of numbers."""
    try:
        return torch.as_tensor(numbers)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"a tensor of numbers is needed, got {described(numbers)}; encode a text with a tokenizer first"
        ) from None


def check_examples(inputs: Tensor, targets: Tensor) -> None:
    """Raise `ValueError` unless there are equally many rows of inputs (N, ...) and targets (N, ...), at least one."""
    if not inputs.ndim or not targets.ndim or len(inputs) != len(targets) or not targets.numel():
        raise ValueError(
            "inputs and targets must be equally many and not empty, got shapes "
            f"{tuple(inputs.shape)} and {tuple(targets.shape)}"
        )


def device_of(model: Any) -> torch.device:
    """Where the parameters of a model lie; the CPU for one without a method `parameters()`, such as a function."""
    parameters = getattr(model, "parameters", None)
    if callable(parameters):
        for p in parameters():
            return p.device
    return torch.device("cpu")


def check_logits(logits: Any, targets: Tensor) -> None:
    """Raise `ValueError` unless logits (..., V) and targets (...) fit; targets lie in 0..V-1, or are -1: none."""
    if not isinstance(logits, Tensor) or not logits.ndim:
        hint = f", or pass lambda ids: model(ids){logits_within(logits)}" if logits_within(logits) else ""
        raise ValueError(
            f"the model returned {described(logits)}, but logits (..., V) are needed, one row for each target: return "
            f"the logits alone{hint}"
        )
    if logits.shape[:-1] != targets.shape or not targets.numel():
        raise ValueError(
            f"logits of shape {tuple(logits.shape)} do not fit targets of shape {tuple(targets.shape)}: "
            "a model returns one tensor, with one row of logits for each target, and there is at least one"
        )
    if not logits.is_floating_point():
        raise ValueError(
            f"logits are decimals, got {logits.dtype}: return the scores of all tokens, not the ids of some"
        )
    if not _are_whole(targets):
        raise ValueError(f"targets are the ids of tokens, whole numbers, got {targets.dtype}; call .long()")
    if not (int(targets.min()) >= NO_TARGET and int(targets.max()) < logits.shape[-1]):
        raise ValueError(
            f"targets must lie in 0..{logits.shape[-1] - 1}, one for each logit; got {targets.min()}..{targets.max()}"
        )


def _are_whole(ids: Tensor | np.ndarray) -> bool:
    if isinstance(ids, Tensor):
        return not (ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool)
    return np.issubdtype(ids.dtype, np.integer)


def described(output: Any) -> str:
    """What a model returned in place of logits, in words."""
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}" if output.ndim else "one number"
    if isinstance(output, Mapping):
        return f"a dictionary of {', '.join(map(repr, output))}"
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} of {len(output)}"
    return "nothing (None)" if output is None else type(output).__name__


def logits_within(output: Any) -> str:
    """How the logits are probably taken out of what a model returned, "[0]" say; "" if there is nothing to take out."""
    if isinstance(output, Mapping) and output:
        return f"[{'logits' if 'logits' in output else next(iter(output))!r}]"
    if isinstance(output, tuple | list) and output:
        return "[0]"
    return ".logits" if hasattr(output, "logits") else ""


def _cross_entropies(logits: Tensor, targets: Tensor) -> Tensor:
    """-ln p of each target, in the shape of `targets`; NaN where there is no target."""
    check_logits(logits, targets)
    if logits.device.type == "mps":  # Apple's GPU has no float64
        logits, targets = logits.cpu(), targets.cpu()
    # float32 at least: in half precision ln p would have three digits
    flat_logits = logits.to(torch.promote_types(logits.dtype, torch.float32)).flatten(0, -2)
    flat = targets.flatten().long()
    losses = F.cross_entropy(flat_logits, flat, reduction="none", ignore_index=NO_TARGET)
    if bool(losses.isnan().any()):
        raise FloatingPointError(
            "the model's logits are NaN, or infinite, so it has no loss; lower the learning rate, or look at its "
            "weights"
        )
    return losses.masked_fill(flat == NO_TARGET, math.nan).view_as(targets)


def nll(model: LanguageModel, inputs: Tensor, targets: Tensor, batch_size: int = 8192) -> float:
    """The mean of `token_nll`: nats per token over all targets given, of which there is at least one."""
    losses = token_nll(model, inputs, targets, batch_size)
    if bool(losses.isnan().all()):
        raise ValueError("every target is -1, which stands for none, so that there is no loss")
    return losses.nanmean().item()


def total_nll(
    model: LanguageModel,
    ids: np.ndarray | Tensor,
    block_size: int,
    batch_size: int = 8192,
    shard: tuple[int, int] = (0, 1),
) -> float:
    """The sum of -ln p over all tokens of a text (n,) but its first, each once; nats.

    The text is read in pieces of about `batch_size` tokens. With `shard` = (i, n) process i of n takes every n-th
    piece; the results of all processes add up to the total. All processes run the model equally often: with parameters
    that are spread over them (FSDP) one more pass in one of them would be a deadlock.
    """
    ids = ids if isinstance(ids, Tensor) else np.asarray(ids)
    i, n = shard
    if ids.ndim != 1 or len(ids) < 2 or block_size < 1 or not 0 <= i < n:
        raise ValueError(
            "the loss of a text needs at least two ids (n,), a block_size of at least 1 and a shard (i, n) with i from "
            f"0 to n - 1, got shape {tuple(ids.shape)}, block_size={block_size} and shard={shard}"
        )
    if not _are_whole(ids):
        raise ValueError(f"ids are whole numbers, got {ids.dtype}")
    span = max(1, batch_size // block_size) * block_size  # tokens of a piece
    n_targets = len(ids) - 1
    n_rounds = math.ceil(n_targets / span / n)
    total = 0.0
    for k in range(n_rounds):
        begin = (k * n + i) * span
        counts = begin < n_targets
        begin = begin if counts else 0
        piece = ids[begin : begin + span + 1]
        piece = piece if isinstance(piece, Tensor) else np.array(piece, dtype=np.int64)
        x, y = text_windows(piece, block_size)
        losses = token_nll(model, x, y, span)
        total += losses[y != NO_TARGET].sum().item() if counts else 0.0
    return total


def log_prob(
    model: LanguageModel,
    tokenizer: Tokenizer,
    text: str,
    prompt: str = "",
    *,
    block_size: int | None = None,
    sequence_model: bool | None = None,
) -> float:
    """ln p of a text after a prompt, in nats: how likely the model is to write it. -inf where it never would.

        log_prob(model, tokenizer, "emma")  # a name, and its end
        log_prob(model, tokenizer, "to be", prompt="HAMLET: ")

    With a tokenizer that has a boundary the text is (the rest of) a word, and its end counts. Other models do not know
    how a text begins, so the prompt says it: at least one token, and a whole window for a model that reads windows.
    Each token is predicted from at most `block_size` before it (the model's own if None).

    A `sequence_model` reads a word from one boundary on, as `whole_words` lays it out, others from a window full of
    them, as `context_windows`. None: a model that returns logits for every position is a sequence model.
    """
    block_size = block_size or getattr(model, "block_size", None)
    if block_size is None or block_size < 1:
        raise ValueError("this model does not say how many tokens it sees; give block_size, at least 1")
    all_positions = _has_logits_everywhere(model, block_size)
    n_boundaries = 1 if (all_positions if sequence_model is None else sequence_model) else block_size
    before, ids = _before_and_after(tokenizer, prompt, text, n_boundaries)
    if not ids:
        return 0.0
    if not all_positions and len(before) < block_size:
        raise ValueError(
            f"this model reads {block_size} tokens before each one, and the prompt has {len(before)}; give a longer one"
        )
    inputs, targets = _continuation(torch.tensor(before), torch.tensor(ids), block_size)
    if not all_positions:
        targets = targets[:, -1]  # (N,)
    nats = token_nll(model, inputs, targets).nansum().item()
    return -nats if nats else 0.0


def _has_logits_everywhere(model: LanguageModel, block_size: int) -> bool:
    """Whether the model returns logits for every position (B, T, V), and not only for the next token (N, V)."""
    ids = torch.zeros((1, block_size), dtype=torch.int64, device=device_of(model))
    with eval_mode(model):
        return getattr(model(ids), "ndim", 0) == 3


def _before_and_after(
    tokenizer: Tokenizer, prompt: str, text: str, n_boundaries: int
) -> tuple[list[int], list[int]]:
    """The ids that a text follows, and its own: with the boundaries around it if the tokenizer has one."""
    boundary = getattr(tokenizer, "boundary", None)
    before = tokenizer.encode(prompt, allowed_special="all")
    ids = tokenizer.encode(text, allowed_special="all")
    if boundary is None:
        if not before:
            raise ValueError(
                "this model does not know how a text begins: give prompt=..., what stands before, such as a newline"
            )
        return before, ids
    if boundary in prompt + text:
        raise ValueError(
            f"{prompt + text!r} holds the boundary {boundary!r}, which marks where a word ends; leave it out"
        )
    return [0] * n_boundaries + before, [*ids, 0]


def _continuation(before: Tensor, ids: Tensor, block_size: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets (N, T): each of `ids` (n,) once as a target, after up to `block_size` tokens; T at most that.

    The first row has several targets if all before them fits into it. The target of every other row is its last token.
    """
    stream = torch.cat([before, ids])
    length = min(block_size, len(stream) - 1)
    inputs = stream[:-1].unfold(0, length, 1)  # (N, T)
    is_target = torch.arange(1, len(stream)) >= len(before)
    targets = stream[1:].where(is_target, NO_TARGET).unfold(0, length, 1).clone()  # (N, T)
    targets[1:, :-1] = NO_TARGET
    has_target = (targets != NO_TARGET).any(dim=1)
    return inputs[has_target], targets[has_target]


def perplexity(nats_per_token: float) -> float:
    """e to the loss: among how many equally likely tokens the model hesitates on average; infinite from 710 nats on."""
    try:
        return math.exp(nats_per_token)
    except OverflowError:
        return math.inf


def bits_per_byte(
    model: LanguageModel, tokenizer: Tokenizer, text: str, block_size: int | None = None
) -> float:
    """The loss of a model on a text, as bits for each byte of UTF-8: comparable between tokenizers.

        bits_per_byte(model, tokenizer, validation_text)

    Every token but the first is predicted from at most `block_size` before it (the model's own if None). Special tokens
    in the text are taken as such. `bits_from_nats` is the formula alone.
    """
    ids = np.array(tokenizer.encode(text, allowed_special="all"), dtype=np.int64)
    block_size = block_size or getattr(model, "block_size", None)
    if block_size is None or len(ids) < 2:
        raise ValueError(
            "bits per byte need a text of at least two tokens and a model that says its block_size; got "
            f"{len(ids)} tokens and block_size={block_size}"
        )
    nats = total_nll(model, ids, block_size) / (len(ids) - 1)
    n_bytes = len(text.encode()) - len(tokenizer.decode_bytes(ids[:1].tolist()))
    return bits_from_nats(nats, len(ids) - 1, n_bytes)


def bits_from_nats(nats_per_token: float, n_tokens: int, n_bytes: int) -> float:
    """Nats per token as bits per byte; `n_tokens` counts the targets (`len(ids) - 1`), `n_bytes` what they spell."""
    if n_tokens < 1 or n_bytes < 1:
        raise ValueError(f"a text has at least one token and one byte, got {n_tokens} and {n_bytes}")
    return nats_per_token * n_tokens / n_bytes / math.log(2)


def word_index(targets: Tensor, stop_id: int = 0) -> Tensor:
    """Which word each target (N,) belongs to, counted from 0, when every word ends in `stop_id`."""
    targets = _tensor(targets)
    if targets.ndim != 1:
        raise ValueError(f"word_index takes targets (N,), one after the other, got {tuple(targets.shape)}")
    ends = (targets == stop_id).long()
    return ends.cumsum(0) - ends


def bootstrap_se(
    losses: Tensor, groups: Tensor | None = None, n_resamples: int = 1000, seed: int = 0
) -> float:
    """The standard error of the mean of `losses` (N,), by resampling (Efron 1979).

    The tokens of one word are not independent, so whole words are drawn: `groups` (N,) says which word each
    token belongs to (`word_index`). Without groups each token is drawn on its own, or each row of losses (B, T).
    """
    losses = _tensor(losses)
    if not losses.ndim:
        raise ValueError("a standard error is that of many losses (N,), got one number")
    if bool(losses.isnan().any()):
        raise ValueError(
            "some losses are NaN, as where there is no target: leave them out, losses[~losses.isnan()]"
        )
    if groups is None:
        groups = torch.arange(len(losses)).view(-1, *[1] * (losses.ndim - 1)).expand(losses.shape)
    if groups.shape != losses.shape:
        raise ValueError(
            f"losses and groups have one shape, got {tuple(losses.shape)} and {tuple(groups.shape)}"
        )
    if n_resamples < 2 or len(groups.unique()) < 2:
        raise ValueError("a standard error needs at least 2 resamples and at least 2 words")
    losses, groups = losses.double().flatten(), groups.flatten()
    _, groups = groups.unique(return_inverse=True)
    counts = torch.bincount(groups).double()  # (G,)
    sums = torch.zeros_like(counts).index_add_(0, groups, losses)  # (G,)
    generator = torch.Generator().manual_seed(seed)
    means = []
    for _ in range(n_resamples):
        drawn = (torch.rand(len(sums), generator=generator, dtype=torch.float64) * len(sums)).long()
        means.append(sums[drawn].sum() / counts[drawn].sum())
    return torch.stack(means).std().item()
