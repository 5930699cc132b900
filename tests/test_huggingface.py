"""Folders that go to `transformers` and come back: the same logits, bits and ids, and what is refused."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pickle
import shutil
import string
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import shaken as shaken_in
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
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

from nnhelpers.bpe import GPT2_PATTERN, GPT4_PATTERN, BPETokenizer
from nnhelpers.characters import CharTokenizer
from nnhelpers.files import write_tensors
from nnhelpers.gpt import EPS, GPT, GPTConfig
from nnhelpers.huggingface import load, load_model, load_tokenizer, save, save_tokenizer
from nnhelpers.sampling import generate
from nnhelpers.wavenet import WaveNet

VOCAB, BLOCK = 20, 12
END = "<|endoftext|>"
SIZES = {"n_layer": 2, "n_head": 3, "n_embd": 24}
IDS = torch.randint(VOCAB, (3, BLOCK), generator=torch.Generator().manual_seed(0))


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


def shaken(model):
    return shaken_in(model, torch.float32)


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


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (WaveNet(VOCAB, n_channels=8), "writes a GPT, got WaveNet: transformers has no"),
        ("folder", "writes a GPT, got str"),
    ],
)
def test_only_a_gpt_is_written(model, message, tmp_path):
    with pytest.raises(TypeError, match=message):
        save(model, tmp_path / "new")
    assert not (tmp_path / "new").exists()


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


def test_a_tokenizer_that_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    large = CharTokenizer("abcdefghijklmnopqrstuvw")
    twin = BPETokenizer.train("ab", 257, special_tokens=["a"])
    roomy = GPT(GPTConfig(300, BLOCK, **SIZES))
    with pytest.raises(ValueError, match="the tokenizer has 23 ids, but the model reads 20"):
        save(gpt(), tmp_path / "new", large)
    with pytest.raises(TypeError, match="a CharTokenizer or a BPETokenizer can be written, got object"):
        save(gpt(), tmp_path / "new", object())
    with pytest.raises(TypeError, match="a CharTokenizer or a BPETokenizer can be written, got GPT"):
        save_tokenizer(gpt(), tmp_path / "new")
    with pytest.raises(ValueError, match="is spelled like an ordinary token"):
        save(roomy, tmp_path / "new", twin)
    assert not (tmp_path / "new").exists()


# Folders


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pair(letters: str) -> tuple[GPT, CharTokenizer]:
    """A tokenizer, and a model of its vocabulary."""
    tokenizer = CharTokenizer(letters)
    return shaken(GPT(GPTConfig(tokenizer.vocab_size, BLOCK, **SIZES))), tokenizer


def test_model_and_tokenizer_come_back_together(tmp_path):
    model, tokenizer = pair("abc")
    save(model, tmp_path, tokenizer)
    again, letters = load(tmp_path)
    assert same(model, again)
    assert letters.characters == "abc"


def test_without_a_tokenizer_there_is_none(tmp_path):
    save(gpt(), tmp_path)
    model, tokenizer = load(tmp_path)
    assert same(model, gpt())
    assert tokenizer is None
    with pytest.raises(FileNotFoundError, match=r"there is no file .*tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_with_more_tokens_than_the_model_reads_is_not_loaded_with_it(tmp_path):
    save(*(pair("abc")[0], tmp_path / "small"))
    save_tokenizer(CharTokenizer("abcd"), tmp_path / "large")
    shutil.copy(tmp_path / "large" / "tokenizer.json", tmp_path / "small")
    with pytest.raises(ValueError, match="the tokenizer has 4 ids, but the model reads 3"):
        load(tmp_path / "small")


def test_a_second_export_replaces_the_first_and_nothing_else(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    for letters in ("abc", "defgh"):
        model, tokenizer = pair(letters)
        save(model, tmp_path, tokenizer)
        again, letters_again = load(tmp_path)
        assert same(model, again)
        assert letters_again.characters == letters
    assert sorted(contents(tmp_path)) == [
        "README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(contents(tmp_path))


def a_run(folder: Path) -> None:
    """The files of a training run."""
    write_tensors(
        folder / "best.safetensors", {"model.a": torch.ones(2)}, {"format": "nnhelpers.checkpoint 2"}
    )
    (folder / "log.jsonl").write_text("{}\n")
    (folder / "tokens.bin").write_bytes(b"12")
    CharTokenizer("abc").save(folder / "tokenizer.json")


def a_model_of_transformers(folder: Path) -> None:
    GPT2LMHeadModel(gpt2_config()).save_pretrained(folder)


FOREIGN = [
    (a_run, "holds best.safetensors, which no export wrote; take a new or an empty folder"),
    (a_model_of_transformers, "holds generation_config.json, which no export wrote"),
    (lambda folder: CharTokenizer("abc").save(folder / "tokenizer.json"), "a tokenizer's own save wrote"),
    (
        lambda folder: BPETokenizer.train("abab", 257).save(folder / "tokenizer.json"),
        "holds a tokenizer.json that a tokenizer's own save wrote",
    ),
    (lambda folder: (folder / "merges.txt").write_text("a b"), "holds merges.txt, which no export wrote"),
    (
        lambda folder: (folder / "config.json").write_text('{"port": 80}'),
        "a config.json that no export wrote",
    ),
    (lambda folder: (folder / "config.json").write_text("[1]"), "a config.json that no export wrote"),
    (lambda folder: (folder / "tokenizer.json").write_text('{"model'), "tokenizer.json is not JSON"),
    (
        lambda folder: write_tensors(folder / "model.safetensors", {"a": torch.ones(2)}),
        "holds a model.safetensors without config.json",
    ),
]


@pytest.mark.parametrize(("put_into", "message"), FOREIGN)
def test_no_file_that_another_program_wrote_is_overwritten(put_into, message, tmp_path):
    put_into(tmp_path)
    before = contents(tmp_path)
    model, tokenizer = pair("abc")
    with pytest.raises(ValueError, match=message):
        save(model, tmp_path, tokenizer)
    with pytest.raises(ValueError, match=message):
        save_tokenizer(tokenizer, tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("file/new", "file' is a file; give the path of a folder"),
        ("/proc/new", "no file can be written into the folder '/proc'"),
    ],
)
def test_a_place_where_nothing_can_be_written_gets_a_sentence_before_the_work(
    place, message, tmp_path, monkeypatch
):
    if place.startswith("/proc") and not Path("/proc").is_dir():
        pytest.skip("this system has no /proc, in which not even an administrator can make a file")
    (tmp_path / "file").write_text("")
    model, tokenizer = pair(string.ascii_letters)
    monkeypatch.setattr(GPT, "named_parameters", mock.Mock(side_effect=AssertionError("the work came first")))
    with pytest.raises(OSError, match=message):
        save(model, tmp_path / place, tokenizer)
    with pytest.raises(OSError, match=message):
        save_tokenizer(tokenizer, tmp_path / place)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file is a file; give a folder"):
        save(gpt(), tmp_path / "file")


def test_a_model_never_comes_to_stand_beside_a_tokenizer_of_another(tmp_path):
    model, tokenizer = pair("abc")
    save(model, tmp_path, tokenizer)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="holds a tokenizer, which may not belong to this model; pass"):
        save(gpt(), tmp_path)
    with pytest.raises(ValueError, match=r"holds a model; write both with save\(model, folder, tokenizer\)"):
        save_tokenizer(CharTokenizer("xyz"), tmp_path)
    assert contents(tmp_path) == before


def test_a_tokenizer_alone_is_replaced_by_another_and_joined_by_its_model(tmp_path):
    save_tokenizer(CharTokenizer("abc", boundary="."), tmp_path)
    save_tokenizer(CharTokenizer("ab"), tmp_path)
    assert load_tokenizer(tmp_path).characters == "ab"
    model, tokenizer = pair("xyz")
    save(model, tmp_path, tokenizer)
    assert load(tmp_path)[1].characters == "xyz"


@contextlib.contextmanager
def files_no_longer_than(n_bytes: int) -> Iterator[None]:
    """As on a full disk, writing more raises an error (of Python, or of safetensors)."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
)
def test_on_a_full_disk_the_earlier_export_stays_as_it_was(name, tmp_path):
    save(*pair("abc")[:1], tmp_path / "old", pair("abc")[1])
    before = contents(tmp_path / "old")
    model, tokenizer = pair(string.ascii_letters)
    save(model, tmp_path / "whole", tokenizer)
    too_small = (tmp_path / "whole" / name).stat().st_size - 1
    for folder in ("old", "new"):
        with (
            files_no_longer_than(too_small),
            pytest.raises(
                OSError, match=f"the export to .*{folder} could not be written, and changed nothing"
            ),
        ):
            save(model, tmp_path / folder, tokenizer)
    assert contents(tmp_path / "old") == before
    assert [path.name for path in (tmp_path / "old").iterdir() if path.name not in before] == []
    assert not (tmp_path / "new").exists()
    save(model, tmp_path / "old", tokenizer)
    assert contents(tmp_path / "old") == contents(tmp_path / "whole")


def seen(folder: Path) -> str:
    """What a reader finds in the folder."""
    if (folder / "config.json").exists():
        return load(folder)[1].characters
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load(folder)
    return "nothing"


def test_at_every_moment_a_reader_sees_the_old_export_the_new_one_or_none(tmp_path, monkeypatch):
    save(*pair("abc")[:1], tmp_path, pair("abc")[1])
    replace, moments = os.replace, []

    def watched(source, target):
        replace(source, target)
        moments.append(seen(tmp_path))

    monkeypatch.setattr(os, "replace", watched)
    model, tokenizer = pair("defgh")
    save(model, tmp_path, tokenizer)
    n_old, n_new = moments.count("abc"), moments.count("defgh")
    assert n_old
    assert n_new
    assert moments == ["abc"] * n_old + ["nothing"] * (len(moments) - n_old - n_new) + ["defgh"] * n_new


@pytest.mark.parametrize(
    "error", [OSError(errno.EACCES, "another program has the file open"), KeyboardInterrupt()]
)
def test_an_error_at_any_step_brings_the_old_export_back(error, tmp_path, monkeypatch):
    """With a tokenizer before and after, and with none before."""
    model, tokenizer = pair("defgh")
    save(*pair("abc")[:1], tmp_path / "both", pair("abc")[1])
    save(pair("abc")[0], tmp_path / "model")
    replace = os.replace
    for folder in (tmp_path / "both", tmp_path / "model"):
        before = contents(folder)
        for n_steps in range(100):
            left = [n_steps]

            def failing_once(source, target, left=left):
                left[0] -= 1
                if left[0] == -1:
                    raise error
                replace(source, target)

            monkeypatch.setattr(os, "replace", failing_once)
            try:
                save(model, folder, tokenizer)
            except (OSError, KeyboardInterrupt):
                assert contents(folder) == before
            else:
                break
        assert 6 < n_steps < 99
        assert seen(folder) == "defgh"


def test_what_a_killed_export_left_behind_is_cleared_away(tmp_path):
    (tmp_path / ".export.abc.tmp").mkdir()
    (tmp_path / ".export.abc.tmp" / "model.safetensors").write_bytes(b"half")
    save(gpt(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


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


# Refused models


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


# Tokenizers in

# an unassigned character may be a letter in the next version of Unicode, and so in one library before the other
assigned = st.characters(exclude_categories=["Cs", "Cn"])
fragments = [
    END, "<|pad|>", "<|pad|", "|>", "the ", " the", "'ll", "'LL", " 123", "4567", "  ", "\n\n", "\r\n", "\t",
    "日本", "é", "e\u0301", "🙂", "\x00", "Ġ", "ſ",
]  # fmt: skip
messy = st.lists(st.sampled_from(fragments) | assigned, max_size=25).map("".join)


def ids_of(folder: Path, text: str) -> list[int]:
    return Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids


@given(letters=st.sets(assigned, min_size=2, max_size=12), has_boundary=st.booleans(), data=st.data())
@settings(max_examples=30, deadline=None)
def test_any_character_tokenizer_comes_back(letters, has_boundary, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("characters")
    boundary = letters.pop() if has_boundary else None
    tokenizer = CharTokenizer(letters, boundary)
    save_tokenizer(tokenizer, folder)
    again = load_tokenizer(folder)
    assert isinstance(again, CharTokenizer)
    assert (again.characters, again.boundary) == (tokenizer.characters, tokenizer.boundary)
    text = data.draw(st.text(st.sampled_from(tokenizer.characters)))
    assert again.encode(text) == ids_of(folder, text)


OWN = {
    "GPT-2": lambda: BPETokenizer.from_tiktoken("gpt2"),
    "GPT-4's pattern": lambda: BPETokenizer.train(TEXT * 20, 280, GPT4_PATTERN, [END, "a b"]),
    "GPT-2's pattern": lambda: BPETokenizer.train(TEXT * 20, 270, GPT2_PATTERN),
    "no pattern": lambda: BPETokenizer.train(TEXT * 20, 290, None, [END]),
    "gaps between special ids": lambda: BPETokenizer(
        {bytes([i]): i for i in range(256)}, GPT2_PATTERN, {END: 300, "<|pad|>": 256}
    ),
}


@pytest.mark.parametrize("kind", OWN)
def test_a_byte_pair_tokenizer_comes_back(kind, tmp_path):
    tokenizer = OWN[kind]()
    save_tokenizer(tokenizer, tmp_path)
    again = load_tokenizer(tmp_path)
    assert isinstance(again, BPETokenizer)
    assert again.vocab == tokenizer.vocab
    assert again.merges == tokenizer.merges
    assert (again.pattern, again.special_tokens) == (tokenizer.pattern, tokenizer.special_tokens)
    text = TEXT + END + TEXT
    assert again.encode(text, "all") == ids_of(tmp_path, text)


@pytest.mark.parametrize("kind", ["characters", "words", "bytes"])
def test_what_transformers_saves_anew_is_read(kind, tmp_path):
    tokenizer = {
        "characters": CharTokenizer(TEXT),
        "words": CharTokenizer(TEXT, boundary="#"),
        "bytes": BPETokenizer.train(TEXT * 20, 280, special_tokens=[END]),
    }[kind]
    save_tokenizer(tokenizer, tmp_path / "ours")
    AutoTokenizer.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    again = load_tokenizer(tmp_path / "theirs")
    assert type(again) is type(tokenizer)
    assert again.vocab_size == tokenizer.vocab_size
    assert again.encode(TEXT) == tokenizer.encode(TEXT) == ids_of(tmp_path / "theirs", TEXT)
    assert getattr(again, "boundary", None) == getattr(tokenizer, "boundary", None)


def a_genuine_tokenizer(split: str) -> Tokenizer:
    """A byte-level tokenizer that the library `tokenizers` trained itself."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split == "GPT-2")
    steps = [pre_tokenizers.Split(Regex(GPT4_PATTERN), "isolated")] if split == "GPT-4" else []
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, byte_level]) if steps else byte_level
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    text = "the thing that they thought about 日本 1234 'll then\n\n  " * 30
    tokenizer.train_from_iterator([text], trainer)
    tokenizer.add_special_tokens([END])
    tokenizer.add_tokens([AddedToken("<|pad|>", normalized=False), AddedToken("<|pad", normalized=False)])
    return tokenizer


@pytest.fixture(scope="module")
def genuine(tmp_path_factory) -> dict[str, Path]:
    """Folders of tokenizers that were born in `tokenizers`, in all the layouts that its versions have written."""
    folders = {}
    for split in ("GPT-2", "GPT-4", "no pattern"):
        folders[split] = tmp_path_factory.mktemp("genuine")
        a_genuine_tokenizer(split).save(str(folders[split] / "tokenizer.json"))
    content = json.loads((folders["GPT-2"] / "tokenizer.json").read_text())
    content["model"]["merges"] = [" ".join(merge) for merge in content["model"]["merges"]]
    content["model"] |= {"continuing_subword_prefix": "", "end_of_word_suffix": ""}
    del content["pre_tokenizer"]["use_regex"], content["model"]["type"]
    # as in GPT-2's own file, the special token is one of the vocabulary
    content["model"]["vocab"][END] = content["added_tokens"][0]["id"]
    for token in content["added_tokens"]:
        token["normalized"] = True
    folders["old"] = tmp_path_factory.mktemp("old")
    (folders["old"] / "tokenizer.json").write_text(json.dumps(content))
    return folders


@settings(max_examples=60, deadline=None)
@given(text=messy)
def test_any_text_has_the_ids_of_the_genuine_tokenizer(genuine, text):
    for kind, folder in genuine.items():
        ids = cached(folder, load_tokenizer).encode(text, "all")
        assert ids == cached(folder, theirs_of).encode(text).ids, kind
        assert cached(folder, load_tokenizer).decode(ids) == text


def theirs_of(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


CACHE = {}


def cached(folder, read):
    if (folder, read) not in CACHE:
        CACHE[folder, read] = read(folder)
    return CACHE[folder, read]


def test_a_pattern_that_the_two_engines_may_read_otherwise_warns(tmp_path):
    tokenizer = BPETokenizer.train(TEXT * 20, 270, r"\w+|\W+")
    save_tokenizer(tokenizer, tmp_path)
    with pytest.warns(UserWarning, match=r"the pattern .* is neither GPT-2's nor GPT-4's") as caught:
        again = load_tokenizer(tmp_path)
    assert caught[0].filename == __file__
    assert again.pattern == tokenizer.pattern
    assert again.encode(TEXT) == ids_of(tmp_path, TEXT)


# Refused tokenizers

FLAGS = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized", "special"], False)


def change_tokenizer(folder: Path, edit) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def genuine_copy(genuine, tmp_path):
    return Path(shutil.copytree(genuine["GPT-2"], tmp_path / "copy"))


def set_in(*path_and_value):
    """A change of one place in a tokenizer.json."""
    *path, name, value = path_and_value

    def edit(content):
        for step in path:
            content = content[step]
        content[name] = value

    return edit


def a_gap_where_the_special_token_falls(content):
    """`tokenizers` gives an added token the number of the tokens, which is an ordinary token's id after a gap."""
    vocab = content["model"]["vocab"]
    content["model"]["vocab"] = {token: i + (i >= 256) for token, i in vocab.items()}
    content["added_tokens"] = [content["added_tokens"][0] | {"id": len(vocab)}]


def swap_two_merges(content):
    merges = content["model"]["merges"]
    merges[0], merges[1] = merges[1], merges[0]


def leave_out_a_token(content):
    vocab = content["model"]["vocab"]
    del vocab[max(vocab, key=vocab.get)]
    del content["model"]["merges"][-1]


def a_token_of_another_spelling(content):
    content["added_tokens"] = []
    content["model"]["vocab"]["▁the"] = len(content["model"]["vocab"])


def template(content):
    text, end = {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": END, "type_id": 0}}
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [text, end],
        "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {END: {"id": END, "ids": [content["added_tokens"][0]["id"]], "tokens": [END]}},
    }


def two_splits(content):
    split = {"type": "Split", "pattern": {"Regex": " "}, "behavior": "Isolated", "invert": False}
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, content["pre_tokenizer"]]}


def byte_level_after(**step):
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return set_in("pre_tokenizer", {"type": "Sequence", "pretokenizers": [step, byte_level]})


def split_at(pattern, **settings):
    usual = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    return byte_level_after(**usual | settings)


REFUSED_TOKENIZERS = [
    (set_in("normalizer", {"type": "NFC"}), "has normalizer={'type': 'NFC'}, but ours have None here"),
    (set_in("truncation", {"max_length": 5}), "has truncation="),
    (set_in("padding", {"strategy": {"Fixed": 9}}), "has padding="),
    (set_in("version", "2.0"), "has version='2.0', but ours have '1.0' here"),
    (set_in("postscript", 1), "the tokenizer has the setting 'postscript', which ours do not have"),
    (
        set_in("model", "type", "Unigram"),
        "the model is Unigram, but ours are BPE and, for characters, WordLevel",
    ),
    (set_in("model", None), "the model is no type"),
    (set_in("model", "ignore_merges", True), "the model has ignore_merges=True, but ours have None or False"),
    (set_in("model", "dropout", 0.1), "the model has dropout=0.1"),
    (set_in("model", "continuing_subword_prefix", "##"), "continuing_subword_prefix='##'"),
    (set_in("model", "end_of_word_suffix", "</w>"), "end_of_word_suffix='</w>'"),
    (set_in("model", "vocab", []), "the vocabulary is no table from tokens to ids"),
    (set_in("model", "vocab", "a", "1"), "the vocabulary is no table"),
    (a_token_of_another_spelling, "'▁the' is not spelled in the letters that stand for bytes"),
    (set_in("model", "vocab", "a", 400), "the first 256 tokens are not the 256 bytes"),
    (set_in("model", "vocab", "a", 2**32), "ids are whole numbers from 0 to 4,294,967,294, got 4294967296"),
    (set_in("model", "merges", 0, "a b c"), "the merge 'a b c' is no pair of tokens"),
    (set_in("model", "merges", 0, ["a"]), r"the merge \['a'\] is no pair of tokens"),
    (set_in("model", "merges", None), "the merge None is no pair of tokens"),
    (
        set_in("model", "merges", 0, ["z", "q"]),
        r"the merge \['z', 'q'\] needs the token 'zq', which is no ordinary",
    ),
    (
        lambda c: c["model"]["merges"].append(["t", "h"]),
        "its merges do not make the tokens in the order of their",
    ),
    (swap_two_merges, "its merges do not make the tokens in the order of their ids"),
    (lambda c: c["model"]["merges"].pop(), "its merges do not make the tokens in the order of their ids"),
    (leave_out_a_token, "has id 291, but should have 290"),
    (a_gap_where_the_special_token_falls, "special tokens need ids of their own, which no other token has"),
    (set_in("added_tokens", 0, "lstrip", True), "an added token has lstrip=True, but ours have False here"),
    (set_in("added_tokens", 0, "rstrip", True), "an added token has rstrip=True"),
    (set_in("added_tokens", 0, "single_word", True), "an added token has single_word=True"),
    (set_in("added_tokens", 0, "normalized", True), "some are normalized and some not"),
    (set_in("added_tokens", 0, "id", 77), "has id 77, but should have 291"),
    (set_in("added_tokens", 1, "content", END), "is no text, or is there twice"),
    (set_in("added_tokens", 0, "content", ""), "a special token needs at least one character"),
    (
        set_in("added_tokens", [{"content": "z", "id": 89, **FLAGS}]),
        "the special token 'z' is the letter of a byte",
    ),
    (set_in("added_tokens", {}), "added_tokens is {}, but should be a list"),
    (set_in("added_tokens", 0, "end"), "an added token is 'end'"),
    (
        set_in("pre_tokenizer", None),
        "the pre-tokenizer is no type, but ours is ByteLevel, or a Split before it",
    ),
    (set_in("pre_tokenizer", {"type": "Whitespace"}), "the pre-tokenizer is Whitespace, but ours is"),
    (
        set_in("pre_tokenizer", "add_prefix_space", True),
        "has add_prefix_space=True, but ours have False here",
    ),
    (byte_level_after(type="Digits", individual_digits=True), "the pre-tokenizer is Digits and ByteLevel"),
    (split_at({"String": " "}), r"splits at \{'String': ' '\}, but ours at a regular expression"),
    (
        split_at({"Regex": GPT2_PATTERN}, behavior="Removed"),
        "has behavior='Removed', but ours have 'Isolated'",
    ),
    (split_at({"Regex": GPT2_PATTERN}, invert=True), "has invert=True"),
    (two_splits, "its texts are cut twice, by a Split and by ByteLevel with use_regex=true"),
    (template, "the post-processor TemplateProcessing may add tokens to a text"),
    (set_in("decoder", {"type": "Fuse"}), "the decoder has type='Fuse', but ours have 'ByteLevel' here"),
    (set_in("decoder", None), "the decoder is None"),
]


@pytest.mark.parametrize(("edit", "message"), REFUSED_TOKENIZERS)
def test_what_a_byte_pair_tokenizer_cannot_do_is_refused_by_name(edit, message, genuine_copy):
    change_tokenizer(genuine_copy, edit)
    with pytest.raises(ValueError, match=f"^tokenizer.json cannot be read: .*{message}"):
        load_tokenizer(genuine_copy)


def letters_of(content, vocab):
    content["model"]["vocab"] = vocab


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda c: letters_of(c, {"b": 0, "a": 1}),
            "its characters are not sorted, but a CharTokenizer's are",
        ),
        (lambda c: letters_of(c, {"a": 0, "bc": 1}), "not single characters with the ids 0, 1, 2, …"),
        (lambda c: letters_of(c, {"a": 0, "b": 2}), "not single characters with the ids"),
        (lambda c: letters_of(c, {}), "not single characters with the ids"),
        (set_in("model", "unk_token", "a"), "has a token for unknown characters, but a CharTokenizer raises"),
        (set_in("pre_tokenizer", {"type": "Whitespace"}), "its words are not single characters"),
        (set_in("decoder", None), "the decoder is None"),
        (
            set_in("added_tokens", [{"content": "xyz", "id": 3, **FLAGS}]),
            "a CharTokenizer has characters alone",
        ),
    ],
)
def test_what_a_character_tokenizer_cannot_do_is_refused_by_name(edit, message, tmp_path):
    save_tokenizer(CharTokenizer("abc"), tmp_path)
    change_tokenizer(tmp_path, edit)
    with pytest.raises(ValueError, match=f"^tokenizer.json cannot be read: .*{message}"):
        load_tokenizer(tmp_path)


def test_the_own_format_of_a_tokenizer_is_named(tmp_path):
    CharTokenizer("abc").save(tmp_path / "tokenizer.json")
    with pytest.raises(ValueError, match=r"says 'nnhelpers\.characters 1': read it with the load method of"):
        load_tokenizer(tmp_path)


def places(content, path=()) -> Iterator[tuple]:
    """The places in a tokenizer.json: every setting, and the first two entries of a table or list."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for name, value in list(items)[:20]:
        yield (*path, name)
        if isinstance(value, dict | list):
            yield from places(value, (*path, name))


VALUES = [
    None,
    True,
    False,
    0,
    1,
    -1,
    260,
    331,
    "",
    "a",
    "t",
    END,
    "Ġ",
    "th",
    [],
    ["t", "h"],
    {},
    "ByteLevel",
    "Split",
]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_changed_file_is_refused_or_warned_of_or_gives_the_ids_of_the_library(
    genuine, data, tmp_path_factory
):
    folder = tmp_path_factory.getbasetemp() / "changed"
    folder.mkdir(exist_ok=True)
    source = genuine[data.draw(st.sampled_from(sorted(genuine)))]
    content = json.loads((source / "tokenizer.json").read_text())
    *path, name = data.draw(st.sampled_from(list(places(content))))
    place = content
    for step in path:
        place = place[step]
    if data.draw(st.booleans()):
        place[name] = data.draw(st.sampled_from(VALUES))
    else:
        del place[name]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ours = load_tokenizer(folder)
    except (ValueError, UserWarning):
        return
    try:
        oracle = theirs_of(folder)
    except Exception:  # the type that tokenizers raises
        return
    for text in ("the thing then they", "".join(fragments), " a t th", TEXT):
        assert ours.encode(text, "all") == oracle.encode(text).ids
