"""Folders that go to `transformers` and come back: the same logits, the same bits, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from nnhelpers import files
from nnhelpers.bpe import BPETokenizer
from nnhelpers.characters import CharTokenizer
from nnhelpers.gpt import EPS, GPT, GPTConfig
from nnhelpers.huggingface import load, load_model, load_tokenizer, save, save_tokenizer
from nnhelpers.sampling import generate

VOCAB, BLOCK = 20, 12
SIZES = {"n_layer": 2, "n_head": 3, "n_embd": 24}
IDS = torch.randint(VOCAB, (3, BLOCK), generator=torch.Generator().manual_seed(0))


def shaken(model):
    """The model with all its numbers moved, so that no bias is 0 and no gain 1; in eval mode."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return model.eval()


def gpt(**settings):
    return shaken(GPT(GPTConfig(VOCAB, BLOCK, **{**SIZES, **settings}), torch.Generator().manual_seed(0)))


def modern(**settings):
    return shaken(
        GPT(GPTConfig.modern(VOCAB, BLOCK, **{**SIZES, **settings}), torch.Generator().manual_seed(0))
    )


MODELS = {
    "gpt2": (lambda: gpt(dropout=0.1), GPT2LMHeadModel),
    "gpt2 untied": (lambda: gpt(tie_weights=False), GPT2LMHeadModel),
    "gpt2 without biases": (lambda: gpt(bias=False), GPT2LMHeadModel),
    "llama": (lambda: modern(dropout=0.25), LlamaForCausalLM),
    "llama untied": (lambda: modern(tie_weights=False), LlamaForCausalLM),
    "llama with biases": (lambda: modern(bias=True), LlamaForCausalLM),
    "qwen3": (lambda: modern(qk_norm=True), Qwen3ForCausalLM),
    "qwen3 untied": (lambda: modern(qk_norm=True, tie_weights=False), Qwen3ForCausalLM),
}
each_form = pytest.mark.parametrize("form", MODELS)


def theirs(folder, **options):
    """The model of `transformers`; every tensor in the folder has to be used, and none may be made up."""
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, trust_remote_code=False, use_safetensors=True, **options
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


def settings_of(folder):
    return json.loads((Path(folder) / "config.json").read_text())


def change(folder, **settings):
    content = settings_of(folder)
    for name, value in settings.items():
        content.pop(name, None) if value is ... else content.update({name: value})
    (Path(folder) / "config.json").write_text(json.dumps(content))


def change_weights(folder, edit):
    path = Path(folder) / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"format": "pt"})


def same(ours, other):
    """All tensors bit for bit."""
    pairs = list(zip(ours.named_parameters(), other.named_parameters(), strict=True))
    return all(a == b and torch.equal(p, q) and p.dtype == q.dtype for (a, p), (b, q) in pairs)


# Out


@each_form
def test_transformers_reads_what_is_written_and_computes_the_same(form, tmp_path):
    make, kind = MODELS[form]
    model = make()
    save(model, tmp_path / "new" / "folder")
    other = theirs(tmp_path / "new" / "folder")
    assert type(other) is kind
    for n_tokens in (1, 5, BLOCK):
        ids = IDS[:, :n_tokens]
        torch.testing.assert_close(other(ids).logits, model(ids), rtol=1e-4, atol=1e-4)
    greedy = {"do_sample": False, "max_new_tokens": 6, "pad_token_id": 0}
    continued = other.generate(IDS[:, :4], attention_mask=torch.ones(3, 4).long(), **greedy)
    assert continued[:, 4:].tolist() == generate(model, IDS[:, :4], 6, temperature=0.0)
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == ["config.json", "model.safetensors"]


@each_form
def test_what_was_written_is_read_back_bit_for_bit(form, tmp_path):
    model = MODELS[form][0]()
    save(model, tmp_path)
    again = load_model(tmp_path)
    assert again.config == model.config
    assert same(model, again)
    assert torch.equal(again(IDS), model(IDS))
    assert not again.training
    assert all(p.requires_grad for p in again.parameters())
    assert (again.head.weight is again.token_embedding.weight) is model.config.tie_weights
    written = (tmp_path / "model.safetensors").read_bytes(), (tmp_path / "config.json").read_bytes()
    save(again, tmp_path)
    assert written == ((tmp_path / "model.safetensors").read_bytes(), (tmp_path / "config.json").read_bytes())


@each_form
def test_what_transformers_writes_is_read_back_bit_for_bit(form, tmp_path):
    make, _ = MODELS[form]
    model = make()
    save(model, tmp_path / "ours")
    theirs(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    again = load_model(tmp_path / "theirs")
    assert again.config == model.config
    assert same(model, again)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_keep_their_bits(dtype, tmp_path):
    model = modern().to(dtype)
    save(model, tmp_path)
    assert same(model, load_model(tmp_path))
    assert theirs(tmp_path).dtype == dtype
    assert torch.equal(load_model(tmp_path)(IDS), model(IDS))


def test_biases_that_gpt_2_must_have_are_written_as_zeros_and_left_out_again(tmp_path):
    model = gpt(bias=False)
    save(model, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    biases = {name: tensor for name, tensor in tensors.items() if name.endswith("bias")}
    assert len(biases) == 2 * 6 + 1
    assert not any(tensor.any() for tensor in biases.values())
    assert not load_model(tmp_path).config.bias
    change(tmp_path, bias=...)
    assert load_model(tmp_path).config.bias
    torch.testing.assert_close(load_model(tmp_path)(IDS), model(IDS), rtol=1e-6, atol=1e-6)
    save(gpt(), tmp_path)
    change(tmp_path, bias=False)
    with pytest.raises(ValueError, match=r'says "bias": false, but some of the biases are not zero'):
        load_model(tmp_path)


def test_the_file_names_its_format_and_a_tied_head_is_not_written_twice(tmp_path):
    save(gpt(), tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert "lm_head.weight" not in file.keys()  # noqa: SIM118
    assert settings_of(tmp_path)["tie_word_embeddings"] is True
    assert (tmp_path / "config.json").read_text().endswith("}\n")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"norm": "rms"},
            "no class for position='learned' with norm='rms'; it needs norm='layer', mlp='gelu'",
        ),
        ({"mlp": "swiglu"}, "position='learned' with mlp='swiglu'"),
        ({"qk_norm": True}, "position='learned' with qk_norm=True; it needs .* qk_norm=False"),
        ({"position": "rotary"}, "position='rotary' with norm='layer' and mlp='gelu'; it needs norm='rms'"),
        ({"position": "rotary", "norm": "rms"}, "position='rotary' with mlp='gelu'"),
        ({"bos_id": 0}, "position='learned' with bos_id=0; it needs .*bos_id=None"),
        (
            {"position": "rotary", "norm": "rms", "mlp": "swiglu", "qk_norm": True},
            "position='rotary' with bias=True; it needs .*qk_norm=True, bias=False",
        ),
    ],
)
def test_a_form_that_transformers_has_no_class_for_is_refused_before_anything_is_written(
    settings, message, tmp_path
):
    with pytest.raises(ValueError, match=message):
        save(gpt(**settings), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_export_that_fails_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    save(gpt(), tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(path, **_):
        raise OSError("no space left on device")

    monkeypatch.setattr(files.os, "replace", lambda *_: full(None))
    with pytest.raises(OSError, match="no space left"):
        save(gpt(tie_weights=False), tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


# Tokenizers

TEXT = "Ein schönes 日本\n\n  'tis  . , ! \t end.\r"


def char_tokenizer():
    return CharTokenizer(TEXT)


def test_a_character_tokenizer_has_the_same_ids_and_texts_in_transformers(tmp_path):
    tokenizer = char_tokenizer()
    model = GPT(GPTConfig(tokenizer.vocab_size, BLOCK, **SIZES))
    save(model, tmp_path, tokenizer)
    for other in (AutoTokenizer.from_pretrained(tmp_path), PreTrainedTokenizerFast.from_pretrained(tmp_path)):
        assert other.vocab_size == len(other) == tokenizer.vocab_size
        for text in (TEXT, TEXT[::-1], "  ", "\n", "", ". ,", "日"):
            assert other.encode(text) == other(text)["input_ids"] == tokenizer.encode(text)
            assert other.decode(tokenizer.encode(text)) == text
        assert other.eos_token is None
    plain = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert plain.encode(TEXT).ids == tokenizer.encode(TEXT)
    with pytest.raises(Exception, match="UNK"):  # the type that tokenizers raises
        plain.encode("Z")
    assert settings_of(tmp_path)["eos_token_id"] is None
    assert load_model(tmp_path).config == model.config


def test_the_boundary_of_words_begins_and_ends_a_text(tmp_path):
    tokenizer = CharTokenizer(["anna", "bob"], boundary=".")
    model = GPT(GPTConfig(tokenizer.vocab_size, BLOCK, **SIZES))
    save(model, tmp_path, tokenizer)
    other = AutoTokenizer.from_pretrained(tmp_path)
    assert other.encode(".anna.bob.") == tokenizer.encode(".anna.bob.")
    assert other.decode(tokenizer.encode(".anna.bob.")) == ".anna.bob."
    assert (other.eos_token, other.eos_token_id, other.bos_token_id) == (".", 0, 0)
    generation = theirs(tmp_path).generation_config
    assert (generation.eos_token_id, generation.bos_token_id) == (0, 0)


def test_a_byte_pair_tokenizer_writes_itself(tmp_path):
    tokenizer = BPETokenizer.train(TEXT * 20, 270, special_tokens=["<|endoftext|>"])
    model = GPT(
        GPTConfig(tokenizer.vocab_size + 3, BLOCK, **SIZES)
    )  # a model may read more tokens than there are
    save(model, tmp_path, tokenizer)
    other = AutoTokenizer.from_pretrained(tmp_path)
    for text in (TEXT, "unseen words, and 本日", ""):
        assert other.encode(text) == tokenizer.encode(text)
        assert other.decode(tokenizer.encode(text)) == text
    end = tokenizer.special_tokens["<|endoftext|>"]
    assert theirs(tmp_path).generation_config.eos_token_id == end == other.eos_token_id


def test_a_tokenizer_needs_no_more_than_to_write_itself(tmp_path):
    class Mine:
        vocab_size = VOCAB

        def to_huggingface(self, folder):
            (Path(folder) / "tokenizer.json").write_text("{}")

    save(gpt(), tmp_path, Mine())
    assert (tmp_path / "tokenizer.json").read_text() == "{}"
    assert settings_of(tmp_path)["eos_token_id"] is None


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (object(), r"object is no CharTokenizer and has no to_huggingface\(folder\)"),
        (CharTokenizer("abcdefghijklmnopqrstuvw"), "the tokenizer has 23 tokens, but the model reads 20"),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_refused_before_anything_is_written(tokenizer, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save(gpt(), tmp_path / "new", tokenizer)
    assert not (tmp_path / "new").exists()


# In


def gpt2_config(**settings):
    sizes = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": BLOCK}
    return GPT2Config(vocab_size=VOCAB, **sizes, bos_token_id=None, eos_token_id=None, **settings)


def llama_sizes(**settings):
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 3}
    sizes |= {"intermediate_size": 64, "max_position_embeddings": BLOCK, "rms_norm_eps": EPS, "head_dim": 8}
    return sizes | {"bos_token_id": None, "eos_token_id": None, "vocab_size": VOCAB} | settings


@pytest.mark.parametrize(
    "make",
    [
        lambda: GPT2LMHeadModel(gpt2_config()),
        lambda: GPT2LMHeadModel(gpt2_config(activation_function="gelu_pytorch_tanh", n_inner=96)),
        lambda: GPT2LMHeadModel(gpt2_config(tie_word_embeddings=False)),
        lambda: LlamaForCausalLM(LlamaConfig(**llama_sizes())),
        lambda: LlamaForCausalLM(LlamaConfig(**llama_sizes(tie_word_embeddings=True))),
        lambda: LlamaForCausalLM(LlamaConfig(**llama_sizes(attention_bias=True, mlp_bias=True))),
        lambda: Qwen3ForCausalLM(Qwen3Config(**llama_sizes())),
    ],
)
def test_models_born_in_transformers_are_read(make, tmp_path):
    other = shaken(make())
    other.save_pretrained(tmp_path)
    torch.testing.assert_close(load_model(tmp_path)(IDS), other(IDS).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["gpt2", "llama untied", "qwen3"])
def test_names_without_a_prefix_old_buffers_and_a_head_that_is_there_twice_are_read(form, tmp_path):
    model = MODELS[form][0]()
    save(model, tmp_path)

    def edit(tensors):
        for name in list(tensors):
            tensors[name.removeprefix("transformer.").removeprefix("model.")] = tensors.pop(name)
        if form == "gpt2":
            tensors["lm_head.weight"] = tensors["wte.weight"].clone()
            for i in range(2):
                tensors[f"h.{i}.attn.bias"] = torch.ones(1, 1, BLOCK, BLOCK).tril().bool()
                tensors[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
        else:
            tensors["layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
            tensors["rotary_emb.inv_freq"] = torch.ones(4)

    change_weights(tmp_path, edit)
    assert same(model, load_model(tmp_path))


@pytest.mark.parametrize("form", ["gpt2", "llama untied"])
def test_weights_in_several_files_are_read(form, tmp_path):
    model = MODELS[form][0]()
    save(model, tmp_path / "ours")
    theirs(tmp_path / "ours").save_pretrained(tmp_path / "cut", max_shard_size="20KB")
    shards = sorted((tmp_path / "cut").glob("model-*.safetensors"))
    assert len(shards) > 2
    assert same(model, load_model(tmp_path / "cut"))
    index = tmp_path / "cut" / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    shards[0].rename(tmp_path / "elsewhere.safetensors")
    with pytest.raises(ValueError, match=f"names '{shards[0].name}', which is no file in its folder"):
        load_model(tmp_path / "cut")
    for bad in ("../elsewhere.safetensors", str(tmp_path / "elsewhere.safetensors"), "", ".."):
        places = {
            name: bad if file == shards[0].name else file for name, file in content["weight_map"].items()
        }
        index.write_text(json.dumps({"weight_map": places}))
        with pytest.raises(ValueError, match="which is no file in its folder"):
            load_model(tmp_path / "cut")
    for nothing in ({}, [], {"weight_map": []}, {"weight_map": {"a": 1}}):
        index.write_text(json.dumps(nothing))
        with pytest.raises(ValueError, match=r"index\.json holds no weight_map"):
            load_model(tmp_path / "cut")


def test_a_later_gradient_changes_the_loaded_model_alone(tmp_path):
    save(gpt(), tmp_path)
    one, two = load_model(tmp_path), load_model(tmp_path)
    one(IDS).sum().backward()
    with torch.no_grad():
        for p in one.parameters():
            p -= p.grad
    assert same(gpt(), two)
    assert not same(gpt(), one)


# Refused


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    for form, (make, _) in MODELS.items():
        save(make(), folder / form)
    return folder


@pytest.fixture
def copy(exported, tmp_path):
    return lambda form: Path(shutil.copytree(exported / form, tmp_path / "copy"))


GPT2_REFUSED = [
    ({"model_type": "bert"}, "a model_type of gpt2, llama, qwen3 can be read, got 'bert'"),
    ({"model_type": ...}, "got None"),
    ({"model_type": ["gpt2"]}, r"got \['gpt2'\]"),
    ({"n_embd": ...}, "config.json has no 'n_embd'"),
    ({"vocab_size": ...}, "config.json has no 'vocab_size'"),
    ({"n_head": 5}, "cannot be divided by n_head=5"),
    ({"n_layer": "2"}, "n_layer must be a whole number of at least 1, got '2'"),
    ({"n_layer": 10**12}, "asks for 1000000000000 layers, more than there are tensors"),
    ({"n_layer": 3}, "hold no tensor h.2.ln_1.weight"),
    ({"n_layer": 1}, "no place for the tensors h.1.attn.c_attn.bias, h.1"),
    (
        {"vocab_size": 10**12},
        r"wte.weight has shape \(20, 24\), but config.json asks for \(1000000000000, 24\)",
    ),
    ({"n_positions": 13}, r"wpe.weight has shape \(12, 24\), but config.json asks for \(13, 24\)"),
    ({"activation_function": "relu"}, "activation_function is 'relu', but a GPT has 'gelu_new' or 'gelu_py"),
    ({"activation_function": "gelu"}, "activation_function is 'gelu'"),
    ({"n_inner": 48}, "n_inner is 48, but a GPT has None or 96 here"),
    ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon is 1e-06, but a GPT has 1e-05 here"),
    ({"scale_attn_weights": False}, "scale_attn_weights is False"),
    ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
    ({"add_cross_attention": True}, "add_cross_attention is True"),
    ({"attn_pdrop": 0.3}, "attn_pdrop is 0.3, but a GPT has 0.1 here"),
    ({"embd_pdrop": 0.3}, "embd_pdrop is 0.3"),
    ({"resid_pdrop": "much"}, "resid_pdrop is 'much', but should be a number"),
    ({"resid_pdrop": 1.0}, "dropout is a share"),
    ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes', but should be true or false"),
    ({"tie_word_embeddings": False}, "hold no tensor lm_head.weight"),
    ({"bias": 1}, "bias is 1, but should be true or false"),
    ({"quantization_config": {"bits": 4}}, r"quantization_config is \{'bits': 4\}, but a GPT has None here"),
]
LLAMA_REFUSED = [
    ({"max_position_embeddings": ...}, "config.json has no 'max_position_embeddings'"),
    ({"num_key_value_heads": 1}, "num_key_value_heads is 1, but a GPT has 3 or None here"),
    ({"hidden_act": "gelu"}, "hidden_act is 'gelu', but a GPT has 'silu' here"),
    ({"rms_norm_eps": 1e-6}, "rms_norm_eps is 1e-06, but a GPT has 1e-05 here"),
    ({"rms_norm_eps": ...}, "rms_norm_eps is 1e-06"),
    ({"intermediate_size": 96}, "intermediate_size is 96, but a GPT has 64 here"),
    ({"head_dim": 16}, "head_dim is 16, but a GPT has 8 or None here"),
    ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, "rope_parameters is"),
    ({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, "rope_parameters is .*500000"),
    ({"rope_parameters": ..., "rope_theta": 5e5}, "rope_theta is 500000.0, but a GPT has 10000.0 here"),
    ({"rope_parameters": ..., "rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling is"),
    ({"mlp_bias": True}, "mlp_bias is True, but a GPT has False here"),
    ({"attention_bias": True}, "mlp_bias is False, but a GPT has True here"),
    ({"tie_word_embeddings": ...}, "hold no tensor lm_head.weight"),
]
QWEN3_REFUSED = [
    ({"attention_bias": True}, "attention_bias is True, but a GPT has False here"),
    ({"use_sliding_window": True}, "use_sliding_window is True"),
    ({"model_type": "llama"}, "no place for the tensors layers.0.self_attn.k_norm.weight"),
]
REFUSED = [("gpt2", *row) for row in GPT2_REFUSED] + [("llama", *row) for row in LLAMA_REFUSED]
REFUSED += [("qwen3", *row) for row in QWEN3_REFUSED]


@pytest.mark.parametrize(("form", "settings", "message"), REFUSED)
def test_settings_that_a_gpt_does_not_have_are_refused(form, settings, message, copy):
    folder = copy(form)
    change(folder, **settings)
    with pytest.raises(ValueError, match=message):
        load_model(folder)


@pytest.mark.parametrize(
    ("form", "settings"),
    [
        (
            "gpt2",
            dict.fromkeys(["activation_function", "layer_norm_epsilon", "scale_attn_weights", "bias"], ...),
        ),
        (
            "gpt2",
            {"architectures": ..., "dtype": ..., "tie_word_embeddings": ..., "n_inner": None, "n_ctx": 12},
        ),
        ("llama", {"rope_parameters": ..., "rope_theta": ..., "head_dim": ..., "mlp_bias": ...}),
        ("llama", {"rope_parameters": ..., "rope_theta": 10000, "rope_scaling": None, "attention_bias": ...}),
        (
            "llama",
            {"num_key_value_heads": None, "head_dim": None, "attention_dropout": ..., "hidden_act": ...},
        ),
    ],
)
def test_settings_that_older_versions_leave_out_have_their_usual_values(form, settings, copy):
    folder = copy(form)
    before = load_model(folder)
    change(folder, **settings)
    after = load_model(folder)
    assert same(before, after)
    assert torch.equal(before(IDS), after(IDS))


@pytest.mark.parametrize(
    ("form", "edit", "message"),
    [
        (
            "gpt2",
            lambda t: t.pop("transformer.h.1.mlp.c_fc.bias"),
            "hold no tensor h.1.mlp.c_fc.bias; are the",
        ),
        (
            "llama",
            lambda t: t.pop("model.layers.1.self_attn.k_proj.weight"),
            "no tensor layers.1.self_attn.k_proj",
        ),
        ("gpt2", lambda t: t.update(extra=torch.ones(1)), "no place for the tensors extra"),
        (
            "gpt2",
            lambda t: t.update({"h.0.attn.bias_2": torch.ones(1)}),
            "no place for the tensors h.0.attn.bias_2",
        ),
        ("gpt2", lambda t: t.update({"wte.weight": torch.ones(20, 24)}), "there twice, with and without"),
        (
            "gpt2",
            lambda t: t.update({"transformer.h.0.attn.c_attn.weight": torch.ones(72, 24)}),
            r"h.0.attn.c_attn.weight has shape \(72, 24\), but config.json asks for \(24, 72\)",
        ),
        (
            "llama",
            lambda t: t.update({"model.layers.0.self_attn.v_proj.weight": torch.ones(8, 24)}),
            r"v_proj.weight has shape \(8, 24\), but config.json asks for \(24, 24\)",
        ),
        ("llama", lambda t: t.update({"model.norm.weight": torch.ones(24, 1)}), r"shape \(24, 1\)"),
        (
            "gpt2",
            lambda t: t.update({"lm_head.weight": torch.ones(20, 24)}),
            "lm_head.weight is not the token embedding",
        ),
        (
            "gpt2",
            lambda t: t.update({"transformer.ln_f.weight": torch.ones(24).half()}),
            "one floating-point type, got torch.float16, torch.float32",
        ),
        (
            "llama",
            lambda t: t.update({name: tensor.to(torch.int8) for name, tensor in t.items()}),
            "one floating-point type, got torch.int8",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused(form, edit, message, copy):
    folder = copy(form)
    change_weights(folder, edit)
    with pytest.raises(ValueError, match=message):
        load_model(folder)


def test_damaged_files_are_refused(copy):
    folder = copy("gpt2")
    config, weights = folder / "config.json", folder / "model.safetensors"
    whole, good = weights.read_bytes(), config.read_bytes()
    for n_bytes in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        weights.write_bytes(whole[:n_bytes])
        with pytest.raises(
            ValueError, match=r"model\.safetensors is not a safetensors file, or is cut short"
        ):
            load_model(folder)
    weights.write_bytes(whole)
    for content, message in (
        (good[:-3], "not JSON, or is cut short"),
        (b"[1]", "got None"),
        (b"\xff", "not JSON"),
    ):
        config.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load_model(folder)
    config.unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no file .*config.json"):
        load_model(folder)
    with pytest.raises(FileNotFoundError, match=r"there is no file"):
        load_model(folder / "nowhere")


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_pickled_weights_and_code_in_the_folder_are_never_run(copy, tmp_path):
    folder, mark = copy("gpt2"), tmp_path / "mark"
    (folder / "modeling_gpt2.py").write_text(f"open({str(mark)!r}, 'w')")
    change(folder, auto_map={"AutoModelForCausalLM": "modeling_gpt2.Mine"})
    load_model(folder)
    content = pickle.dumps(Trap(mark))
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"holds no model\.safetensors; save it again as safetensors"):
        load_model(folder)
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is a pickle, and loading one can run any code"):
        load_model(folder)
    assert not mark.exists()
