"""The transformer against formulas written out and against the models of `transformers`, in all its forms."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from itertools import pairwise, product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import random, shaken
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from nnhelpers.gpt import (
    CHOICES,
    EPS,
    GPT,
    CausalSelfAttention,
    FeedForward,
    GPTConfig,
    apply_rope,
    rope_table,
)
from nnhelpers.sampling import next_probs

VOCAB, BLOCK, WIDTH, LAYERS, HEADS = 11, 9, 24, 2, 3
SIZES = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH}
ALL_CHOICES = [
    {"position": position, "norm": norm, "mlp": mlp, "qk_norm": qk_norm, "bias": bias}
    for position, norm, mlp in product(*CHOICES.values())
    for qk_norm, bias in ((False, True), (True, False))
]
IDS = torch.randint(VOCAB, (3, BLOCK), generator=torch.Generator().manual_seed(5))


def name_of(form):
    return "-".join(name if value is True else value for name, value in form.items() if value)


every_form = pytest.mark.parametrize("form", ALL_CHOICES, ids=name_of)


def build(dtype=torch.float64, **settings):
    return shaken(
        GPT(GPTConfig(VOCAB, BLOCK, **{**SIZES, **settings}), torch.Generator().manual_seed(0)), dtype
    )


@cache
def built(*form):
    return build(**dict(form))


# The parts, written out


@pytest.mark.parametrize("n_tokens", [1, 2, 7])
@pytest.mark.parametrize("bias", [True, False])
def test_attention_is_the_softmax_of_q_k_over_the_root_of_the_head_size_with_a_mask(n_tokens, bias):
    config = GPTConfig(VOCAB, BLOCK, n_head=HEADS, n_embd=WIDTH, n_layer=1, bias=bias)
    layer = shaken(CausalSelfAttention(config))
    x = random(2, n_tokens, WIDTH)
    q, k, v = F.linear(x, layer.qkv.weight, layer.qkv.bias).split(WIDTH, dim=2)
    size, heads = WIDTH // HEADS, []
    for h in range(HEADS):
        mine = slice(h * size, (h + 1) * size)
        scores = q[:, :, mine] @ k[:, :, mine].mT / math.sqrt(size)  # (B, T, T)
        later = torch.arange(n_tokens)[None, :] > torch.arange(n_tokens)[:, None]
        heads.append(torch.softmax(scores.masked_fill(later, -math.inf), dim=-1) @ v[:, :, mine])
    expected = F.linear(torch.cat(heads, dim=2), layer.proj.weight, layer.proj.bias)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


def test_query_key_norm_gives_every_head_queries_and_keys_of_one_size():
    config = GPTConfig(VOCAB, BLOCK, **SIZES, qk_norm=True)
    layer, plain = CausalSelfAttention(config).double(), CausalSelfAttention(replace(config, qk_norm=False))
    x = random(2, 5, WIDTH)
    plain.double().load_state_dict(layer.state_dict(), strict=False)
    for normed, raw, gain in zip(
        layer.heads(x)[:2], plain.heads(x)[:2], (layer.q_norm, layer.k_norm), strict=True
    ):
        assert normed.square().mean(-1).allclose(torch.ones(()).double(), atol=0.01)
        with torch.no_grad():
            gain.weight.copy_(random(WIDTH // HEADS, seed=3))
        expected = raw / (raw.square().mean(-1, keepdim=True) + EPS).sqrt() * gain.weight
        again = layer.heads(x)[0 if gain is layer.q_norm else 1]
        torch.testing.assert_close(again, expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(layer.heads(x)[2], plain.heads(x)[2])


def test_the_feed_forward_layer_is_gelu_in_its_tanh_form_or_swiglu():
    x = random(2, 5, WIDTH)
    config = GPTConfig(VOCAB, BLOCK, **SIZES)
    plain = shaken(FeedForward(config))
    u = plain.up(x)
    gelu = 0.5 * u * (1 + torch.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))
    torch.testing.assert_close(plain(x), plain.down(gelu), rtol=1e-12, atol=1e-12)
    gated = shaken(FeedForward(replace(config, mlp="swiglu")))
    gate = gated.gate(x)
    expected = gated.down(gate / (1 + torch.exp(-gate)) * gated.up(x))
    torch.testing.assert_close(gated(x), expected, rtol=1e-12, atol=1e-12)


@given(
    st.integers(1, 6).map(lambda half: 2 * half), st.integers(0, 40), st.integers(0, 40), st.integers(0, 9)
)
@settings(deadline=None, max_examples=60)
def test_the_product_of_a_turned_query_and_a_turned_key_depends_on_their_distance_alone(size, i, j, seed):
    cos, sin = (table.double() for table in rope_table(100, size))
    q, k = random(size, seed=seed), random(size, seed=seed + 100)

    def product_at(i, j):
        return apply_rope(q, cos[i], sin[i]) @ apply_rope(k, cos[j], sin[j])

    torch.testing.assert_close(product_at(i, j), product_at(i + 17, j + 17), rtol=0, atol=1e-5)
    torch.testing.assert_close(product_at(i, i), q @ k, rtol=0, atol=1e-5)
    torch.testing.assert_close(apply_rope(q, cos[i], sin[i]).norm(), q.norm(), rtol=1e-6, atol=0)


def test_rotary_positions_multiply_complex_numbers_by_turns_of_falling_speed():
    size, n_tokens = 8, 50
    x = random(2, 3, n_tokens, size)
    speeds = 10_000.0 ** (-torch.arange(4, dtype=torch.float64) / 4)
    turns = torch.exp(1j * torch.arange(n_tokens)[:, None] * speeds)  # (n_tokens, 4)
    z = torch.complex(x[..., :4], x[..., 4:]) * turns
    cos, sin = rope_table(n_tokens, size)
    expected = torch.cat([z.real, z.imag], dim=-1)
    torch.testing.assert_close(apply_rope(x, cos, sin), expected, rtol=0, atol=1e-6)


# The whole model against transformers

PARTS = {
    "norm_1": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.proj": "attn.c_proj",
    "norm_2": "ln_2",
    "feed_forward.up": "mlp.c_fc",
    "feed_forward.down": "mlp.c_proj",
}


def as_gpt2(model):
    """transformers' GPT-2 with the weights of ours, copied one by one."""
    sizes = {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": BLOCK}
    config = GPT2Config(vocab_size=VOCAB, **sizes, bos_token_id=None, eos_token_id=None)
    theirs = GPT2LMHeadModel(config).to(model.token_embedding.weight.dtype).eval()
    ours, body = dict(model.named_parameters()), theirs.transformer
    with torch.no_grad():
        body.wte.weight.copy_(ours["token_embedding.weight"])
        body.wpe.weight.copy_(ours["position_embedding.weight"])
        body.ln_f.weight.copy_(ours["norm.weight"])
        body.ln_f.bias.copy_(ours["norm.bias"])
        for i, block in enumerate(body.h):
            for name, part in PARTS.items():
                weight = ours[f"blocks.{i}.{name}.weight"]
                block.get_submodule(part).weight.copy_(weight.mT if weight.ndim == 2 else weight)
                block.get_submodule(part).bias.copy_(ours[f"blocks.{i}.{name}.bias"])
    return theirs


def as_llama(model, qk_norm=False):
    """transformers' Llama, or Qwen 3 for `qk_norm`, with the weights of ours, copied one by one."""
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    sizes |= {"intermediate_size": model.config.n_hidden, "num_key_value_heads": HEADS}
    sizes |= {"head_dim": WIDTH // HEADS, "max_position_embeddings": BLOCK, "rms_norm_eps": EPS}
    ids = {"bos_token_id": None, "eos_token_id": None, "tie_word_embeddings": model.config.tie_weights}
    kinds = (Qwen3Config, Qwen3ForCausalLM) if qk_norm else (LlamaConfig, LlamaForCausalLM)
    theirs = kinds[1](kinds[0](vocab_size=VOCAB, **sizes, **ids)).to(model.head.weight.dtype).eval()
    body = theirs.model
    pairs = [
        (body.embed_tokens, model.token_embedding.weight),
        (body.norm, model.norm.weight),
        (theirs.lm_head, model.head.weight),
    ]
    for block, layer in zip(model.blocks, body.layers, strict=True):
        q, k, v = block.attention.qkv.weight.chunk(3)
        attention, mlp = layer.self_attn, layer.mlp
        pairs += [(attention.q_proj, q), (attention.k_proj, k), (attention.v_proj, v)]
        pairs += [(attention.o_proj, block.attention.proj.weight)]
        pairs += [
            (mlp.gate_proj, block.feed_forward.gate.weight),
            (mlp.up_proj, block.feed_forward.up.weight),
        ]
        pairs += [(mlp.down_proj, block.feed_forward.down.weight)]
        pairs += [(layer.input_layernorm, block.norm_1.weight)]
        pairs += [(layer.post_attention_layernorm, block.norm_2.weight)]
        if qk_norm:
            pairs += [(attention.q_norm, block.attention.q_norm.weight)]
            pairs += [(attention.k_norm, block.attention.k_norm.weight)]
    with torch.no_grad():
        for module, weight in pairs:
            module.weight.copy_(weight)
    return theirs


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_gpt_2s_form_is_transformers_gpt_2_in_logits_and_gradients(dtype, tolerance):
    ours = build(dtype)
    theirs = as_gpt2(ours)
    for n_tokens in (1, 4, BLOCK):
        ids = IDS[:, :n_tokens]
        torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=tolerance, atol=tolerance)
    ours(IDS).square().mean().backward()
    theirs(IDS).logits.square().mean().backward()
    body = theirs.transformer
    for mine, their in (
        (ours.token_embedding.weight.grad, body.wte.weight.grad),
        (ours.position_embedding.weight.grad, body.wpe.weight.grad),
        (ours.blocks[0].attention.qkv.weight.grad, body.h[0].attn.c_attn.weight.grad.mT),
    ):
        torch.testing.assert_close(mine, their, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("tie_weights", [True, False])
@pytest.mark.parametrize("qk_norm", [False, True])
def test_the_modern_form_is_transformers_llama_or_qwen_3(qk_norm, tie_weights):
    ours = shaken(
        GPT(GPTConfig.modern(VOCAB, BLOCK, **SIZES, qk_norm=qk_norm, tie_weights=tie_weights)), torch.float32
    )
    theirs = as_llama(ours, qk_norm)
    for n_tokens in (1, 4, BLOCK):
        ids = IDS[:, :n_tokens]
        torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=1e-4, atol=1e-4)


def test_the_modern_form_in_float64_is_the_formulas_written_out():
    model = shaken(GPT(GPTConfig.modern(VOCAB, BLOCK, **SIZES, tie_weights=False)))

    def rms(x, gain):
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * gain

    def turned(x):  # (B, T, head_size)
        half = x.shape[-1] // 2
        speeds = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
        z = torch.complex(x[..., :half], x[..., half:])
        z = z * torch.exp(1j * torch.arange(x.shape[1])[:, None] * speeds)
        return torch.cat([z.real, z.imag], dim=-1)

    x = model.token_embedding.weight[IDS]
    for block in model.blocks:
        heads = []
        for q, k, v in zip(
            *(
                part.split(WIDTH // HEADS, dim=-1)
                for part in block.attention.qkv(rms(x, block.norm_1.weight)).chunk(3, -1)
            ),
            strict=True,
        ):
            scores = turned(q) @ turned(k).mT / math.sqrt(WIDTH // HEADS)
            seen = torch.ones(BLOCK, BLOCK).tril().bool()
            heads.append(torch.softmax(scores.masked_fill(~seen, -math.inf), dim=-1) @ v)
        x = x + block.attention.proj(torch.cat(heads, dim=-1))
        y, layer = rms(x, block.norm_2.weight), block.feed_forward
        x = x + layer.down(F.silu(layer.gate(y)) * layer.up(y))
    expected = rms(x, model.norm.weight) @ model.head.weight.T
    torch.testing.assert_close(model(IDS), expected, rtol=1e-6, atol=1e-6)  # the tables are float32


# What follows from the form


@every_form
def test_no_position_sees_a_later_one_by_perturbation(form):
    model = built(*form.items())
    before = model(IDS)
    for t in range(BLOCK):
        changed = IDS.clone()
        changed[:, t] = (changed[:, t] + 1) % VOCAB
        after = model(changed)
        assert torch.equal(after[:, :t], before[:, :t])
        assert not after[:, t:].isclose(before[:, t:]).all(-1).any()  # and every later one does


@every_form
def test_no_position_sees_a_later_one_by_gradient(form):
    model = built(*form.items())
    seen = {}
    handle = model.dropout.register_forward_hook(lambda module, inputs, out: seen.update(x=out))
    logits = model(IDS[:1])
    handle.remove()
    for t in range(BLOCK):
        (grad,) = torch.autograd.grad(logits[0, t].square().sum(), seen["x"], retain_graph=True)
        reached = grad[0].abs().sum(-1) > 0
        assert reached.tolist() == [i <= t for i in range(BLOCK)]


@every_form
def test_the_rows_of_a_batch_do_not_see_each_other(form):
    model = built(*form.items())
    together = model(IDS)
    for i in range(len(IDS)):
        torch.testing.assert_close(model(IDS[i : i + 1])[0], together[i], rtol=1e-10, atol=1e-10)


@given(form=st.sampled_from(ALL_CHOICES), cuts=st.sets(st.integers(1, BLOCK - 1)), data=st.data())
@settings(deadline=None, max_examples=150)
def test_reading_with_a_cache_gives_the_same_logits_however_the_text_is_cut(form, cuts, data):
    model, total = built(*form.items()), data.draw(st.integers(1, BLOCK))
    edges = [0, *sorted(cut for cut in cuts if cut < total), total]
    cache = model.start_cache(len(IDS))
    with torch.no_grad():
        pieces = [model(IDS[:, a:b], cache) for a, b in pairwise(edges)]
        expected = model(IDS[:, :total])
    assert cache.n_tokens == total
    torch.testing.assert_close(torch.cat(pieces, dim=1), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", [ALL_CHOICES[0], ALL_CHOICES[-1]], ids=name_of)
def test_two_caches_of_one_model_do_not_mix(form):
    model = built(*form.items())
    one, two = model.start_cache(1), model.start_cache(2)
    with torch.no_grad():
        model(IDS[:1, :4], one)
        model(IDS[1:, :6], two)
        last = model(IDS[:1, 4:5], one)[:, -1]
    torch.testing.assert_close(last, model(IDS[:1, :5])[:, -1], rtol=1e-10, atol=1e-10)


# Several words in one row

START = 0
ROW = torch.tensor([[0, 3, 5, 0, 7, 0, 2, 2, 9], [4, 1, 0, 0, 8, 6, 1, 0, 2]])


@every_form
def test_with_a_start_id_nothing_before_the_last_start_is_seen(form):
    model = build(**form, bos_id=START)
    before = model(ROW)
    for t in range(BLOCK):
        changed = ROW.clone()
        changed[:, t] = torch.where(ROW[:, t] == START, START, ROW[:, t] % (VOCAB - 1) + 1)
        moved = ~model(changed).isclose(before, rtol=0, atol=1e-12).all(-1)  # (B, T)
        for row in range(len(ROW)):
            ends = [i for i in range(t + 1, BLOCK) if ROW[row, i] == START] or [BLOCK]
            reached = ROW[row, t] != START
            assert moved[row].tolist() == [bool(reached) and t <= i < ends[0] for i in range(BLOCK)]


@pytest.mark.parametrize("qk_norm", [False, True])
def test_with_rotary_positions_a_word_in_a_row_is_read_as_if_it_stood_alone(qk_norm):
    form = {"position": "rotary", "norm": "rms", "mlp": "swiglu", "qk_norm": qk_norm}
    model, plain = build(**form, bos_id=START), build(**form)
    for row, logits in zip(ROW, model(ROW), strict=True):
        edges = [0, *(i for i in range(1, BLOCK) if row[i] == START), BLOCK]
        alone = torch.cat([plain(row[None, a:b])[0] for a, b in pairwise(edges)])
        torch.testing.assert_close(logits, alone, rtol=1e-6, atol=1e-6)  # the tables are float32


@given(form=st.sampled_from(ALL_CHOICES), cuts=st.sets(st.integers(1, BLOCK - 1)))
@settings(deadline=None, max_examples=60)
def test_with_a_start_id_too_a_cache_gives_the_same_logits(form, cuts):
    model = built(*form.items(), ("bos_id", START))
    cache = model.start_cache(len(ROW))
    with torch.no_grad():
        pieces = [model(ROW[:, a:b], cache) for a, b in pairwise([0, *sorted(cuts), BLOCK])]
        expected = model(ROW)
    torch.testing.assert_close(torch.cat(pieces, dim=1), expected, rtol=1e-10, atol=1e-10)


# Counting

CONFIGS = st.builds(
    lambda heads, half, **rest: GPTConfig(n_head=heads, n_embd=2 * heads * half, **rest),
    heads=st.integers(1, 4),
    half=st.integers(1, 6),
    vocab_size=st.integers(1, 40),
    block_size=st.integers(1, 20),
    n_layer=st.integers(1, 3),
    bias=st.booleans(),
    qk_norm=st.booleans(),
    tie_weights=st.booleans(),
    **{name: st.sampled_from(values) for name, values in CHOICES.items()},
)


@given(CONFIGS)
@settings(deadline=None, max_examples=100)
def test_the_formula_for_the_parameters_counts_those_that_are_there(config):
    model = GPT(config)
    assert config.n_parameters() == sum(p.numel() for p in model.parameters())
    tables = (model.token_embedding, getattr(model, "position_embedding", None))
    matrices = [p for p in model.parameters() if p.ndim == 2]
    looked_up = [] if config.tie_weights else [tables[0]]
    looked_up += [tables[1]] if tables[1] is not None else []
    n_looked_up = sum(table.weight.numel() for table in looked_up)
    assert config.n_matmul_parameters() == sum(p.numel() for p in matrices) - n_looked_up


def test_gpt_2_has_124_439_808_parameters():
    config = GPTConfig(50257, 1024)
    assert config.n_parameters() == 124_439_808
    assert (config.n_layer, config.n_head, config.n_embd, config.head_size) == (12, 12, 768, 64)


@given(CONFIGS, st.integers(1, 20))
@settings(deadline=None, max_examples=25)
def test_the_formula_for_the_flops_counts_what_torch_counts(config, n_tokens):
    n_tokens = min(n_tokens, config.block_size)
    model, ids = GPT(config), torch.zeros(2, n_tokens, dtype=torch.int64)
    with sdpa_kernel(SDPBackend.MATH):  # the backend whose matrix products torch sees one by one
        with FlopCounterMode(display=False) as forward:
            logits = model(ids)
        with FlopCounterMode(display=False) as backward:
            logits.sum().backward()
    per_token = config.flops_per_token(n_tokens, training=False)
    assert forward.get_total_flops() == 2 * n_tokens * per_token
    assert backward.get_total_flops() == 2 * forward.get_total_flops()
    assert config.flops_per_token(n_tokens) == 3 * per_token
    assert config.flops_per_token() == config.flops_per_token(config.block_size)


def test_the_hidden_width_is_four_times_the_outer_one_or_eight_thirds_in_steps_of_32():
    assert GPTConfig(VOCAB, BLOCK, n_embd=768).n_hidden == 3072
    assert GPTConfig.modern(VOCAB, BLOCK, n_embd=768).n_hidden == 2048
    assert GPTConfig.modern(VOCAB, BLOCK, n_head=1, n_embd=12).n_hidden == 32
    assert GPTConfig.modern(VOCAB, BLOCK, n_head=1, n_embd=14).n_hidden == 64


# How it begins


@every_form
def test_the_first_loss_is_about_that_of_equal_chances(form):
    config = GPTConfig(200, 32, n_layer=2, n_head=2, n_embd=32, **form)
    model = GPT(config, torch.Generator().manual_seed(0))
    ids = torch.randint(200, (8, 33), generator=torch.Generator().manual_seed(1))
    loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).item()
    assert loss == pytest.approx(math.log(200), abs=0.1)


@pytest.mark.parametrize("make", [GPTConfig, GPTConfig.modern])
def test_matrices_start_at_0_02_and_those_that_write_to_the_residual_stream_smaller(make):
    config = make(300, 100, n_layer=8, n_head=2, n_embd=64, qk_norm=True, tie_weights=False)
    for name, p in GPT(config, torch.Generator().manual_seed(0)).named_parameters():
        if name.endswith("bias"):
            assert torch.equal(p, torch.zeros_like(p))
        elif p.ndim == 1:
            assert torch.equal(p, torch.ones_like(p))
        else:
            writes = ".attention.proj." in name or ".feed_forward.down." in name
            assert p.std().item() == pytest.approx(0.02 / math.sqrt(16) if writes else 0.02, rel=0.06)
            assert abs(p.mean().item()) < 0.001


def test_the_same_generator_gives_the_same_model_and_the_global_one_does_not_matter():
    config = GPTConfig(VOCAB, BLOCK, **SIZES)
    torch.manual_seed(1)
    one = GPT(config, torch.Generator().manual_seed(3))
    torch.manual_seed(2)
    two = GPT(config, torch.Generator().manual_seed(3))
    other = GPT(config, torch.Generator().manual_seed(4))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.head.weight, other.head.weight)


def test_a_tied_head_is_the_table_itself_and_an_untied_one_is_not():
    tie_weights, free = (
        GPT(GPTConfig(VOCAB, BLOCK, **SIZES, tie_weights=tie_weights)) for tie_weights in (True, False)
    )
    assert tie_weights.head.weight is tie_weights.token_embedding.weight
    assert not torch.equal(free.head.weight, free.token_embedding.weight)
    assert tie_weights.head.bias is free.head.bias is None


@every_form
def test_the_hidden_matrices_are_all_matrices_inside_the_blocks_and_no_others(form):
    model = GPT(GPTConfig(VOCAB, BLOCK, **SIZES, **form))
    inside = {name: p for name, p in model.named_parameters() if name.startswith("blocks.") and p.ndim == 2}
    assert [id(p) for p in model.hidden_matrices()] == [id(p) for p in inside.values()]
    assert len(inside) == LAYERS * (5 if form["mlp"] == "swiglu" else 4)


@pytest.mark.parametrize("form", [ALL_CHOICES[0], ALL_CHOICES[-1]], ids=name_of)
def test_one_batch_can_be_learned_by_heart(form):
    model = GPT(
        GPTConfig(VOCAB, BLOCK, n_layer=2, n_head=2, n_embd=32, **form), torch.Generator().manual_seed(0)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    targets = torch.randint(VOCAB, IDS.shape, generator=torch.Generator().manual_seed(8))
    for _ in range(80):
        loss = F.cross_entropy(model(IDS).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02


# Modes, precision, files


def test_dropout_acts_in_training_mode_alone():
    model = GPT(GPTConfig(VOCAB, BLOCK, **SIZES, dropout=0.5), torch.Generator().manual_seed(0))
    plain = GPT(GPTConfig(VOCAB, BLOCK, **SIZES), torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    assert not torch.equal(model(IDS), model(IDS))
    assert torch.equal(model.eval()(IDS), plain.eval()(IDS))


def test_dropout_acts_on_embeddings_attention_and_both_layers_of_a_block():
    config = GPTConfig(VOCAB, BLOCK, **SIZES, dropout=0.5)
    attention, feed_forward = CausalSelfAttention(config), FeedForward(config)
    x = torch.ones(4, BLOCK, WIDTH)
    torch.manual_seed(0)
    for out in (GPT(config).dropout(x), attention(x), feed_forward(x)):
        assert (out == 0).float().mean() == pytest.approx(0.5, abs=0.1)
    attention.dropout.eval()  # what is left is dropout on the weights of attention
    assert not torch.equal(attention(x), attention(x))


@every_form
def test_a_saved_state_gives_the_same_model_and_holds_no_tables_of_positions(form):
    model, state = built(*form.items()), built(*form.items()).state_dict()
    assert not {"cos", "sin"} & set(state)
    fresh = GPT(model.config).double()
    fresh.load_state_dict(state)
    torch.testing.assert_close(fresh.eval()(IDS), model(IDS), rtol=0, atol=1e-6)


@every_form
def test_half_precision_follows_single_precision(form):
    model = GPT(GPTConfig(VOCAB, BLOCK, **SIZES, **form), torch.Generator().manual_seed(0)).eval()
    single = model(IDS)
    half = model.bfloat16()
    cache = half.start_cache(len(IDS))
    with torch.no_grad():
        out, cached = half(IDS), torch.cat([half(IDS[:, :4], cache), half(IDS[:, 4:], cache)], dim=1)
    assert out.dtype == cached.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), single, rtol=0, atol=0.02)
    torch.testing.assert_close(cached.float(), single, rtol=0, atol=0.02)


def test_double_precision_stays_double():
    assert (
        built(*ALL_CHOICES[0].items())(IDS).dtype
        == built(*ALL_CHOICES[-1].items())(IDS).dtype
        == torch.float64
    )


# Drawing from it


@given(
    seed=st.integers(0, 99),
    temperature=st.floats(0.3, 3.0),
    top_k=st.none() | st.integers(1, 30),
    top_p=st.none() | st.floats(0.01, 0.99),
)
@settings(deadline=None, max_examples=100)
def test_tokens_are_cut_off_as_transformers_does_it(seed, temperature, top_k, top_p):
    logits = random(2, 20, seed=seed)
    expected = logits / temperature
    if top_k is not None:
        expected = TopKLogitsWarper(top_k)(None, expected)
    if top_p is not None:
        expected = TopPLogitsWarper(top_p)(None, expected)
    got = next_probs(logits, temperature, top_k, top_p)
    torch.testing.assert_close(got, torch.softmax(expected, dim=-1), rtol=1e-9, atol=1e-9)


# Errors

MODEL = GPT(GPTConfig(VOCAB, BLOCK, **SIZES))


def after(n_tokens, ids):
    cache = MODEL.start_cache(1)
    MODEL(torch.zeros(1, n_tokens, dtype=torch.int64), cache)
    return MODEL(ids, cache)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: GPTConfig(0, 8), "vocab_size must be a whole number of at least 1, got 0"),
        (lambda: GPTConfig(5, 8.0), r"block_size must be a whole number of at least 1, got 8\.0"),
        (lambda: GPTConfig(5, 8, n_layer=True), "n_layer must be a whole number of at least 1, got True"),
        (lambda: GPTConfig(5, 8, n_head=0), "n_head must be"),
        (lambda: GPTConfig(5, 8, n_embd=-4), "n_embd must be a whole number of at least 1, got -4"),
        (lambda: GPTConfig(5, 8, n_head=5, n_embd=24), "24 cannot be divided by n_head=5; 25 can"),
        (
            lambda: GPTConfig(5, 8, dropout=1.0),
            "dropout is a share from 0 up to but not including 1, got 1.0",
        ),
        (lambda: GPTConfig(5, 8, dropout=-0.1), "got -0.1"),
        (lambda: GPTConfig(5, 8, dropout=math.nan), "got nan"),
        (lambda: GPTConfig(5, 8, position="alibi"), "position is one of learned, rotary, got 'alibi'"),
        (lambda: GPTConfig(5, 8, norm="batch"), "norm is one of layer, rms, got 'batch'"),
        (lambda: GPTConfig(5, 8, mlp="relu"), "mlp is one of gelu, swiglu, got 'relu'"),
        (lambda: GPTConfig.modern(5, 8, n_head=8, n_embd=24), "a head of 3 numbers has an odd one"),
        (lambda: MODEL(torch.zeros(1, BLOCK + 1).long()), r"T from 1 up to that; got shape \(1, 10\); cut"),
        (lambda: MODEL(torch.zeros(BLOCK).long()), r"reads ids \(B, T\).*got shape \(9,\)"),
        (lambda: MODEL(torch.zeros(2, 0).long()), r"got shape \(2, 0\)"),
        (
            lambda: after(7, torch.zeros(1, 3).long()),
            r"got shape \(1, 3\) after 7 cached tokens; cut the text",
        ),
    ],
)
def test_a_mistake_gets_a_sentence(use, message):
    with pytest.raises(ValueError, match=message):
        use()


def test_a_config_can_not_be_changed_behind_the_models_back():
    with pytest.raises(AttributeError):
        MODEL.config.n_layer = 3
    assert MODEL.block_size == BLOCK


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.zeros(2, 4), "ids are a tensor of whole numbers, int64, got torch.float32"),
        ([[1, 2]], "got list"),
        (torch.full((1, 4), 5), r"ids must lie in 0\.\.4, got 5\.\.5"),
        (torch.full((1, 4), -1), r"ids must lie in 0\.\.4, got -1\.\.-1"),
    ],
)
def test_what_are_no_ids_of_the_vocabulary_gets_a_sentence(ids, message):
    with pytest.raises(ValueError, match=message):
        GPT(GPTConfig(5, 6, 1, 1, 4))(ids)


def test_a_cache_for_other_rows_and_a_token_outside_the_vocabulary_get_a_sentence():
    model = GPT(GPTConfig(5, 6, 1, 1, 4))
    with pytest.raises(ValueError, match="the cache holds 2 sequences, but ids have 3 rows"):
        model(torch.zeros(3, 1).long(), model.start_cache(2))
    for bos_id in (5, -1):
        with pytest.raises(ValueError, match=rf"bos_id is None or an id in 0\.\.4, got {bos_id}"):
            GPTConfig(5, 6, 1, 1, 4, bos_id=bos_id)
