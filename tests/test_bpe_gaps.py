"""Vocabularies whose ids have gaps: special tokens anywhere, and numbers that stand for no token at all."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import tiktoken
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnhelpers import bpe, huggingface
from nnhelpers.bpe import GPT2_PATTERN, GPT4_PATTERN, BPETokenizer
from nnhelpers.bpe.__main__ import main
from nnhelpers.gpt import GPT, GPTConfig
from nnhelpers.train.prepare import load_tokenizer, open_tokens, write_tokens

END = "<|endoftext|>"
TEXT = "the cat and the hat that the rat sat at, 1234 5678   \n\n  naïve 日本 \t'll they're"
texts = st.lists(
    st.sampled_from([*TEXT.split(" "), " ", "   ", "\n", END, "<|a|>", "<|b|>", "<s>"]) | st.text(max_size=3)
).map(" ".join)


def trained_tokens() -> list[bytes]:
    """Tokens in the order of training."""
    tokenizer = BPETokenizer.train(TEXT * 20, 290)
    return [tokenizer.vocab[i] for i in range(290)]


def spread(tokens: list[bytes], gaps: dict[int, int]) -> dict[bytes, int]:
    """The tokens with ids 0, 1, 2, …, but for so many that are left free before the one at each place."""
    ranks, i = {}, 0
    for place, token in enumerate(tokens):
        i += gaps.get(place, 0)
        ranks[token] = i
        i += 1
    return ranks


TOKENS = trained_tokens()
# the places of the gaps and their widths, and the special tokens
LAYOUTS = {
    # as in p50k_base: the special token in the middle, ordinary ones after it
    "in the middle": ({280: 1}, {END: 280}),
    # as in cl100k_base: after the others, with free numbers between
    "after": ({}, {END: 291, "<|a|>": 292, "<|b|>": 320}),
    # as in vocabularies that were trained with <s> first
    "before": ({0: 3}, {"<s>": 0, END: 1, "<|a|>": 2}),
    "everywhere": ({0: 2, 7: 1, 256: 5, 270: 2, 289: 1000}, {"<s>": 0, END: 9, "<|a|>": 261, "<|b|>": 5000}),
    "free numbers alone": ({100: 9, 280: 40}, {}),
}


@pytest.fixture(scope="module", params=LAYOUTS)
def pair(request):
    """A tokenizer here and in tiktoken."""
    gaps, special = LAYOUTS[request.param]
    return made(gaps, special)


def made(gaps, special, pattern=GPT4_PATTERN):
    ranks = spread(TOKENS, gaps)
    ours = BPETokenizer(ranks, pattern, special)
    oracle = tiktoken.Encoding("made", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
    return ours, oracle


def free_ids(tokenizer: BPETokenizer) -> list[int]:
    return sorted(set(range(tokenizer.vocab_size)) - set(tokenizer.ids))


@settings(max_examples=100, deadline=None)
@given(text=texts)
def test_any_text_has_the_ids_of_tiktoken(pair, text):
    ours, oracle = pair
    assert ours.encode(text, "none") == oracle.encode_ordinary(text)
    ids = ours.encode(text, "all")
    assert ids == oracle.encode(text, allowed_special="all")
    assert ours.decode(ids) == text
    assert "".join(ours.stream(ids)) == text
    long = text * 40
    assert ours.encode(long, "all") == oracle.encode(long, allowed_special="all")


@settings(max_examples=40, deadline=None)
@given(
    gaps=st.dictionaries(st.integers(0, 289), st.integers(1, 50), max_size=6),
    after=st.integers(0, 40),
    text=texts,
    data=st.data(),
)
def test_any_gaps_with_special_tokens_anywhere_in_them_are_as_in_tiktoken(gaps, after, text, data):
    ranks = spread(TOKENS, gaps)
    free = sorted(set(range(max(ranks.values()) + 1 + after)) - set(ranks.values()))
    places = data.draw(st.permutations(free))
    special = dict(zip([END, "<|a|>", "<|b|>", "<s>"], places, strict=False))
    ours, oracle = made(gaps, special)
    assert ours.vocab_size == oracle.n_vocab
    assert ours.encode(text, "all") == oracle.encode(text, allowed_special="all")


def test_the_size_is_that_of_tiktoken_and_counts_the_gaps(pair):
    ours, oracle = pair
    assert ours.vocab_size == oracle.n_vocab == max(ours.ids) + 1
    assert len(ours.ids) + len(free_ids(ours)) == ours.vocab_size
    assert f"vocab_size={ours.vocab_size}" in repr(ours)
    assert {i: oracle.decode_single_token_bytes(i) for i in ours.ids} == ours.vocab


def test_gpt2s_vocabulary_with_runs_of_spaces_after_the_special_token(tmp_path):
    """The layout of p50k_base: <|endoftext|> stays at 50,256, and runs of spaces follow from 50,257 on."""
    ranks = bpe.load_ranks("gpt2")
    runs = [b" " * n for n in range(2, 26) if b" " * n not in ranks]
    ranks |= {run: i for i, run in enumerate(runs, start=50_257)}
    ours = BPETokenizer(ranks, GPT2_PATTERN, {END: 50_256})
    oracle = tiktoken.Encoding(
        "p50k", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={END: 50_256}
    )
    text = "def f(x):\n" + "".join(f"{' ' * n}return x{END}\n" for n in range(60))
    ids = ours.encode(text, "all")
    assert ids == oracle.encode(text, allowed_special="all")
    assert max(ids) > 50_256
    assert ours.vocab_size == oracle.n_vocab
    ours.save(tmp_path / "tok.json")
    assert BPETokenizer.load(tmp_path / "tok.json") == ours
    huggingface.save_tokenizer(ours, tmp_path / "hf")
    assert huggingface.load_tokenizer(tmp_path / "hf") == ours
    exported = tokenizers.Tokenizer.from_file(str(tmp_path / "hf" / "tokenizer.json"))
    assert exported.encode(text).ids == ids


@pytest.mark.parametrize("layout", ["in the middle", "everywhere", "free numbers alone"])
def test_an_id_in_a_gap_gets_a_sentence(layout):
    gaps, special = LAYOUTS[layout]
    ours, oracle = made(gaps, special)
    for i in free_ids(ours):
        with pytest.raises(KeyError):
            oracle.decode_single_token_bytes(i)
        for decode in (ours.decode, ours.decode_bytes, lambda ids: list(ours.stream(ids))):
            with pytest.raises(
                ValueError, match=f"^id {i} stands for no token: it lies in a gap of the vocabulary"
            ):
                decode([97, i])
    with pytest.raises(ValueError, match=f"id {ours.vocab_size} is not in the vocabulary of"):
        ours.decode([ours.vocab_size])


def test_the_merges_are_decided_by_the_order_of_the_ids(pair):
    ours, _ = pair
    plain = BPETokenizer({token: i for i, token in enumerate(TOKENS)}, GPT4_PATTERN)
    spelled = [(ours.vocab[a], ours.vocab[b], ours.vocab[new]) for (a, b), new in ours.merges.items()]
    assert spelled == [
        (plain.vocab[a], plain.vocab[b], plain.vocab[new]) for (a, b), new in plain.merges.items()
    ]
    assert [ours.vocab[i] for i in ours.encode(TEXT)] == [plain.vocab[i] for i in plain.encode(TEXT)]


# ---- files


def test_it_is_saved_and_loaded(pair, tmp_path):
    ours, _ = pair
    ours.save(tmp_path / "tok.json")
    for again in (
        BPETokenizer.load(tmp_path / "tok.json"),
        load_tokenizer(tmp_path / "tok.json"),
        pickle.loads(pickle.dumps(ours)),
    ):
        assert again == ours
        assert (again.vocab, again.merges, again.vocab_size) == (ours.vocab, ours.merges, ours.vocab_size)


def test_the_file_names_the_gaps_and_an_older_version_would_refuse_it(tmp_path):
    ours, _ = made({0: 2, 256: 5}, {"<s>": 0})
    ours.save(tmp_path / "tok.json")
    content = json.loads((tmp_path / "tok.json").read_text())
    assert (content["format"], content["gaps"]) == ("nnhelpers.bpe 2", [[0, 1], [258, 262]])
    made({}, {END: 400})[0].save(tmp_path / "tok.json")
    content = json.loads((tmp_path / "tok.json").read_text())
    assert content["format"] == "nnhelpers.bpe 1"
    assert "gaps" not in content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gaps": []}, "stands where two earlier ids should make 256"),
        ({"gaps": [[280, 284], [256, 257]]}, "its gaps are not in ascending order"),
        ({"gaps": [[257, 256]]}, "its gaps are not in ascending order"),
        ({"gaps": [[256, 257], [258, 259]]}, "stands where two earlier ids should make 260"),
        ({"gaps": [[256, 257], [9000, 9001]]}, "its gaps are not those between its ids"),
        ({"gaps": [256]}, "cannot unpack"),
        ({"gaps": 5}, "not iterable"),
        ({"gaps": None}, "not iterable"),
        ({"format": "nnhelpers.bpe 1"}, "stands where two earlier ids should make 256"),
        ({"special_tokens": {END: 258}}, "ids of their own, which no other token has"),
        ({"special_tokens": {END: -1}}, "ids are whole numbers from 0 to 4,294,967,294, got -1"),
        ({"special_tokens": {END: 2**32}}, "ids are whole numbers from 0 to 4,294,967,294, got 4294967296"),
    ],
)
def test_a_damaged_file_gets_a_sentence(change, message, tmp_path):
    path = tmp_path / "tok.json"
    made({256: 2}, {END: 256})[0].save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(
        ValueError, match=f"tok.json is no tokenizer that `save` wrote, or is damaged: .*{message}"
    ):
        BPETokenizer.load(path)


def test_tiktokens_file_goes_out_and_in(pair, tmp_path):
    ours, _ = pair
    path = tmp_path / "v.tiktoken"
    ours.to_tiktoken(path)
    assert bpe.load_ranks(path) == {
        token: i for i, token in ours.vocab.items() if i not in ours.special_tokens.values()
    }
    assert BPETokenizer.from_tiktoken(path, GPT4_PATTERN, ours.special_tokens) == ours


def test_a_list_for_reading_has_a_line_for_every_token_and_none_for_a_gap(pair, tmp_path):
    ours, _ = pair
    ours.write_vocabulary(tmp_path / "list.txt")
    lines = (tmp_path / "list.txt").read_text(encoding="utf-8").splitlines()
    assert [int(line.split("\t")[0]) for line in lines] == sorted(ours.ids)


@pytest.mark.filterwarnings("ignore")
def test_the_export_is_read_by_the_libraries_and_comes_back(pair, tmp_path):
    transformers = pytest.importorskip("transformers")
    ours, _ = pair
    huggingface.save_tokenizer(ours, tmp_path)
    again = huggingface.load_tokenizer(tmp_path)
    assert again == ours
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = TEXT + "".join(ours.special_tokens) + TEXT
    ids = ours.encode(text, "all")
    assert theirs.encode(text).ids == auto(text)["input_ids"] == ids
    assert theirs.decode(ids, skip_special_tokens=False) == auto.decode(ids) == text
    assert {token: auto.convert_tokens_to_ids(token) for token in ours.special_tokens} == ours.special_tokens
    # what transformers writes in its turn
    auto.save_pretrained(tmp_path / "anew")
    assert huggingface.load_tokenizer(tmp_path / "anew") == ours


@settings(max_examples=60, deadline=None)
@given(text=texts)
def test_any_text_has_the_ids_of_the_exported_tokenizer(exported, text):
    for ours, theirs in exported:
        ids = ours.encode(text, "all")
        assert ids == theirs.encode(text).ids
        assert theirs.decode(ids, skip_special_tokens=False) == text


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    result = []
    for gaps, special in LAYOUTS.values():
        folder = tmp_path_factory.mktemp("exported")
        ours, _ = made(gaps, special)
        ours.to_huggingface(folder)
        result.append((ours, tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))))
    return result


def test_a_tokenizer_of_the_library_with_its_special_tokens_first_is_read(tmp_path):
    """The layout of `BpeTrainer(special_tokens=[…])`."""
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>", END], initial_alphabet=alphabet, show_progress=False
    )
    theirs.train_from_iterator([TEXT] * 9, trainer)
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = huggingface.load_tokenizer(tmp_path)
    assert ours.special_tokens == {"<s>": 0, END: 1}
    text = f"<s>{TEXT}{END}the cat"
    assert ours.encode(text, "all") == theirs.encode(text).ids
    assert ours.decode(ours.encode(text, "all")) == text


def test_a_model_is_exported_with_a_row_for_every_id_and_for_every_gap(pair, tmp_path):
    ours, _ = pair
    model = GPT(GPTConfig(ours.vocab_size, 8, n_layer=1, n_head=1, n_embd=4)).eval()
    huggingface.save(model, tmp_path, ours)
    again, tokenizer = huggingface.load(tmp_path)
    assert tokenizer == ours
    ids = torch.tensor([ours.encode("the cat")])
    assert torch.equal(again(ids), model(ids))


# ---- commands


def test_the_commands_bear_a_gap(pair, tmp_path, monkeypatch, capsys):
    ours, oracle = pair
    monkeypatch.chdir(tmp_path)
    text = TEXT + "".join(ours.special_tokens)
    Path("text.txt").write_bytes(text.encode())
    ours.save("tok.json")
    assert main(["encode", "tok.json", "text.txt", "--allowed-special", "all", "--out", "ids.npy"]) == 0
    assert np.load("ids.npy").tolist() == oracle.encode(text, allowed_special="all")
    assert main(["decode", "tok.json", "ids.npy", "--out", "again.txt"]) == 0
    assert Path("again.txt").read_bytes() == text.encode()
    for i in free_ids(ours)[:3]:
        Path("gap.txt").write_text(f"97 {i}")
        assert main(["decode", "tok.json", "gap.txt"]) == 1
        assert re.fullmatch(f"error: id {i} stands for no token: .*\n", capsys.readouterr().err)


def test_the_ids_of_a_run_are_those_of_tiktoken(pair, tmp_path):
    ours, oracle = pair
    write_tokens(tmp_path / "tokens.bin", [TEXT, END], ours, {})
    ids, header = open_tokens(tmp_path / "tokens.bin")
    assert ids.tolist() == oracle.encode(TEXT + END, allowed_special="all")
    assert header["vocab_size"] == oracle.n_vocab
