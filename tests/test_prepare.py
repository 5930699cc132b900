"""From a text to token ids on disk: what is written comes back, and what is damaged or of another text is refused."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnhelpers import characters, data
from nnhelpers.bpe import GPT2_PATTERN, GPT4_PATTERN, BPETokenizer
from nnhelpers.train import load_tokenizer
from nnhelpers.train.prepare import fingerprint, open_tokens, write_tokens

PLAYS = data.load_shakespeare()
BPE = {pattern: BPETokenizer.train(PLAYS[:20_000], 320, pattern) for pattern in (GPT2_PATTERN, GPT4_PATTERN)}
MIXED = st.text(st.sampled_from("ab1é'!_ \n\t界\u0301\u00a0"), max_size=60)


class Fixed:
    """A tokenizer that gives the same ids for every piece."""

    def __init__(self, ids, vocab_size):
        self.ids, self.vocab_size = ids, vocab_size

    def encode(self, text, allowed_special="none_raise"):
        return self.ids

    def pieces(self, blocks):
        return iter(blocks)


def test_the_fingerprint_of_a_text_does_not_depend_on_its_blocks():
    text = "Grüße\n"
    assert (
        fingerprint([text])
        == fingerprint(iter(text))
        == (hashlib.sha256(text.encode()).hexdigest(), "\nGerßü")
    )


@given(text=MIXED, size=st.integers(1, 9), pattern=st.sampled_from([None, *BPE]))
@settings(deadline=None, max_examples=300)
def test_a_text_in_pieces_is_encoded_as_at_once(text, size, pattern):
    tokenizer = BPE[pattern] if pattern else characters.CharTokenizer(text + "x")
    blocks = [text[i : i + size] for i in range(0, len(text), size)]
    cut = list(tokenizer.pieces(blocks))
    assert "".join(cut) == text
    assert [i for piece in cut for i in tokenizer.encode(piece)] == tokenizer.encode(text)


@pytest.mark.parametrize("pattern", BPE)
def test_a_file_in_pieces_is_encoded_as_at_once(pattern, tmp_path):
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbf" + PLAYS[:30_000].replace("\n", "\r\n").encode())
    blocks = list(data.read_blocks(tmp_path / "t.txt", size=100))
    assert "".join(blocks) == data.read_text(tmp_path / "t.txt") == PLAYS[:30_000]
    tokenizer = BPE[pattern]
    assert len(list(tokenizer.pieces(blocks))) > 200
    source = {"text": "the plays"}
    write_tokens(tmp_path / "t.bin", blocks, tokenizer, source)
    ids, header = open_tokens(tmp_path / "t.bin", source)
    assert ids.tolist() == tokenizer.encode(PLAYS[:30_000])
    assert (ids.dtype, header["n_tokens"], header["vocab_size"]) == (np.uint16, len(ids), 320)


@pytest.mark.parametrize(("vocab_size", "dtype"), [(2**16, np.uint16), (2**16 + 1, np.uint32)])
def test_ids_take_two_bytes_where_they_fit(vocab_size, dtype, tmp_path):
    ids = [0, 1, vocab_size - 1]
    write_tokens(tmp_path / "t.bin", ["abc"], Fixed(ids, vocab_size), {})
    found, _ = open_tokens(tmp_path / "t.bin")
    assert (found.dtype, found.tolist()) == (dtype, ids)
    with pytest.raises(ValueError, match=f"do not fit a vocabulary of {vocab_size - 1}"):
        write_tokens(tmp_path / "u.bin", ["abc"], Fixed(ids, vocab_size - 1), {})
    with pytest.raises(FileNotFoundError):  # what stopped half-way has no header
        open_tokens(tmp_path / "u.bin")


def test_a_stale_or_cut_token_file_is_refused(tmp_path):
    path = tmp_path / "t.bin"
    write_tokens(path, ["abc"], Fixed([1, 2, 3], 5), {"text": "1"})
    with pytest.raises(ValueError, match="made from another text"):
        open_tokens(path, {"text": "2"})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="should hold 6 bytes, found 5 bytes"):
        open_tokens(path)
    path.unlink()
    with pytest.raises(ValueError, match="found no such file"):
        open_tokens(path)
    write_tokens(path, [], Fixed([], 5), {})
    with pytest.raises(ValueError, match="holds no tokens"):
        open_tokens(path)
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(ValueError, match="not the header of a token file"):
        open_tokens(path)


def test_a_file_that_is_no_text_gets_a_sentence(tmp_path):
    (tmp_path / "t").write_bytes(b"abc\xff")
    with pytest.raises(ValueError, match="t is not UTF-8 text"):
        list(data.read_blocks(tmp_path / "t"))
    with pytest.raises(FileNotFoundError, match="there is no file"):
        list(data.read_blocks(tmp_path / "none"))


@pytest.mark.parametrize("tokenizer", [characters.CharTokenizer('"\\é\n界 ab'), next(iter(BPE.values()))])
def test_tokenizers_come_back(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "t.json")
    again = load_tokenizer(tmp_path / "t.json")
    assert type(again) is type(tokenizer)
    assert again.encode("ab é") == tokenizer.encode("ab é")


@pytest.mark.parametrize(
    "content", ["[]", "{}", "{", '{"format": "nnhelpers.characters 1", "characters": "ba"}']
)
def test_what_is_no_tokenizer_is_refused(content, tmp_path):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(ValueError, match=r"no tokenizer|not JSON|damaged"):
        load_tokenizer(tmp_path / "t.json")
