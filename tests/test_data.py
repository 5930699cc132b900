"""Loading, tokenizing, splitting: what is promised for good input, and the sentence for bad input."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnhelpers import batches, bpe, characters, data


def test_the_bundled_names_are_unique_and_come_most_frequent_first():
    names = data.load_names()
    assert len(names) == len(set(names)) == 30_294
    assert names[0] == "emma"


def test_the_classic_file_with_its_duplicates_is_accepted_and_the_drop_is_told(tmp_path):
    (tmp_path / "names.txt").write_text("emma\nolivia\nemma\nava\nava\n")
    with pytest.warns(UserWarning, match="dropped 2 duplicates of 5 lines"):
        assert data.load_names(tmp_path / "names.txt") == ["emma", "olivia", "ava"]


def test_the_environment_variable_points_to_another_folder(tmp_path, monkeypatch):
    (tmp_path / "names.txt").write_text("zoe\n")
    (tmp_path / "input.txt").write_text("First Citizen:\nBefore we proceed\n")
    monkeypatch.setenv("NNHELPERS_DATA", str(tmp_path))
    assert data.load_names() == ["zoe"]
    assert data.load_shakespeare().startswith("First Citizen")


def test_an_explicit_path_wins_over_the_environment(tmp_path, monkeypatch):
    (tmp_path / "mine.txt").write_text("ada\n")
    monkeypatch.setenv("NNHELPERS_DATA", str(tmp_path / "elsewhere"))
    assert data.load_names(tmp_path / "mine.txt") == ["ada"]


def test_windows_line_ends_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes(b"\xef\xbb\xbfemma\r\n\r\n  ava \r\nolivia")
    assert data.load_names(path) == ["emma", "ava", "olivia"]


def test_a_missing_data_folder_gets_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("NNHELPERS_DATA", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match=r"NNHELPERS_DATA names the folder .*which does not exist"):
        data.load_names()


def test_a_missing_file_an_empty_file_and_a_file_that_is_not_utf8_get_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        data.load_names(tmp_path / "none.txt")
    path = tmp_path / "names.txt"
    path.write_text("\n\n")
    with pytest.raises(ValueError, match="holds no names"):
        data.load_names(path)
    path.write_bytes(b"emma\nren\xe9e\n")
    with pytest.raises(ValueError, match="is not UTF-8 text: byte 0xe9 at position 8"):
        data.load_names(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        data.load_shakespeare(path)


def test_the_declaration_has_the_same_articles_in_every_language():
    languages = data.load_udhr()
    assert {len(language["articles"]) for language in languages.values()} == {30}
    assert languages["eng"]["articles"][0].startswith("All human beings are born free and equal")


def test_the_vocabularies_have_the_ranks_of_tiktoken():
    gpt2 = bpe.load_ranks("gpt2")
    assert (len(gpt2), gpt2[b"Hello"], gpt2[b" world"]) == (50_256, 15_496, 995)
    cl100k = bpe.load_ranks("cl100k_base")
    assert (len(cl100k), cl100k[b"hello"]) == (100_256, 15_339)
    o200k = bpe.load_ranks("o200k_base")
    assert (len(o200k), o200k[b"hello"]) == (199_998, 24_912)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("IQ== 0\nIg== 0\n", "a token or a rank stands there twice; the file is damaged"),
        ("IQ== 0\nIQ== 1\n", "a token or a rank stands there twice; the file is damaged"),
        ("IQ== 0\nIg==\n", "line 2: expected a token in base64"),
        ("IQ== 0\n!!! 1\n", "line 2: expected a token in base64"),
        ("", "cut short or damaged"),
    ],
)
def test_a_damaged_vocabulary_gets_a_sentence(tmp_path, text, message):
    (tmp_path / "v.tiktoken").write_text(text)
    with pytest.raises(ValueError, match=message):
        bpe.load_ranks(tmp_path / "v.tiktoken")


def test_a_damaged_declaration_gets_a_sentence(tmp_path):
    (tmp_path / "udhr.json").write_text('{"eng": ')
    with pytest.raises(ValueError, match="is not JSON"):
        data.load_udhr(tmp_path / "udhr.json")


@given(st.text(min_size=1, max_size=50))
def test_decoding_undoes_encoding_for_any_text(text):
    tokenizer = characters.CharTokenizer(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.vocab_size == len(set(text))


def test_the_boundary_has_id_zero_and_letters_follow_in_order():
    tokenizer = characters.CharTokenizer(["cab"], boundary=".")
    assert (tokenizer.characters, tokenizer.vocab_size) == (".abc", 4)
    assert tokenizer.encode("abc") == [1, 2, 3]
    assert tokenizer.decode(torch.tensor([3, 1, 2, 0])) == "cab."


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda t: t.encode("caé"), "'é' in 'caé' is not in the vocabulary '.abc'"),
        (lambda t: t.decode([4]), "id 4 is outside the vocabulary of 4 characters"),
        (lambda t: t.decode([-1]), "id -1 is outside"),
        (lambda t: characters.CharTokenizer([]), "at least one character"),
        (lambda t: characters.CharTokenizer(["a.b"], boundary="."), "does not occur in the texts"),
        (lambda t: characters.CharTokenizer(["ab"], boundary="<>"), "must be one character"),
        (lambda t: batches.context_windows([], t, 3), "at least one word"),
        (lambda t: batches.context_windows("abc", t, 3), "words are a list"),
        (lambda t: batches.context_windows(["abc"], t, 0), "at least 1, not 0"),
        (lambda t: batches.context_windows(["abd"], t, 1), "'d' in 'abd'"),
        (lambda t: batches.context_windows(["abc"], characters.CharTokenizer("abc"), 1), "need a boundary"),
        (lambda t: batches.context_windows(["a.b"], t, 1), "'a.b' holds the boundary '.'"),
        (lambda t: data.split(["a", "b"], fractions=(0.8, 0.1, 0.1)), "fractions are two"),
        (lambda t: data.split(["a", "b", "a"]), "1 of 3 items are duplicates"),
        (lambda t: data.split(["a", "b"], fractions=(0.9, 0.2)), "shares of train and dev"),
    ],
)
def test_a_mistake_gets_a_sentence(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake(characters.CharTokenizer(["cab"], boundary="."))


@given(st.lists(st.integers(), unique=True, max_size=200), st.integers(0, 2**32))
def test_a_split_is_a_partition_that_depends_on_the_seed_alone(items, seed):
    before = list(items)
    parts = data.split(items, seed)
    assert items == before
    assert sorted(parts.train + parts.dev + parts.test) == sorted(items)
    assert parts == data.split(items, seed)
    assert abs(len(parts.train) - 0.8 * len(items)) <= 1
    assert abs(len(parts.dev) - 0.1 * len(items)) <= 1


def test_the_split_for_a_seed_does_not_change():
    assert data.split(list("abcdefghij"), seed=42) == (list("bjhdciaf"), ["e"], ["g"])


def test_windows_hold_the_characters_before_each_target_and_never_another_word():
    tokenizer = characters.CharTokenizer(["ab", "c"], boundary=".")
    inputs, targets = batches.context_windows(["ab", "c"], tokenizer, 2)
    rows = [(tokenizer.decode(x), tokenizer.decode([y])) for x, y in zip(inputs, targets, strict=True)]
    assert rows == [("..", "a"), (".a", "b"), ("ab", "."), ("..", "c"), (".c", ".")]
    assert inputs.dtype == targets.dtype == torch.int64


@given(st.lists(st.text("abc", max_size=7), min_size=1, max_size=8), st.integers(1, 6))
def test_windows_equal_a_loop_over_characters(words, block_size):
    tokenizer = characters.CharTokenizer("abc", boundary=".")
    inputs, targets = batches.context_windows(words, tokenizer, block_size)
    expected = []
    for word in words:
        context = [0] * block_size
        for i in [*tokenizer.encode(word), 0]:
            expected.append((context, i))
            context = [*context[1:], i]
    assert [(x, y) for x, y in zip(inputs.tolist(), targets.tolist(), strict=True)] == expected


def test_a_wheel_style_install_finds_its_corpora_beside_the_package(tmp_path):
    package = Path(data.__file__).parent
    shutil.copytree(package, tmp_path / "nnhelpers", ignore=shutil.ignore_patterns("__pycache__", "corpora"))
    (tmp_path / "nnhelpers" / "corpora").mkdir()
    (tmp_path / "nnhelpers" / "corpora" / "names.txt").write_text("ada\n")
    code = "from nnhelpers import data; print(data.load_names())"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "['ada']"
    shutil.rmtree(tmp_path / "nnhelpers" / "corpora")
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "set NNHELPERS_DATA to a folder with names.txt" in run.stderr


def test_the_data_tools_do_not_import_torch_until_windows_are_made():
    code = "import sys, nnhelpers.data as d; d.split(d.load_names()); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


# Tokenizers of characters, on disk


@given(text=st.text(min_size=1, max_size=30), with_boundary=st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_tokenizer_of_characters_comes_back(text, with_boundary, tmp_path_factory):
    if any("\ud800" <= c <= "\udfff" for c in text) or "\n" in text:
        return
    tokenizer = characters.CharTokenizer(text, boundary="\n" if with_boundary else None)
    path = tmp_path_factory.mktemp("t") / "tokenizer.json"
    tokenizer.save(path)
    again = characters.CharTokenizer.load(path)
    assert again == tokenizer
    assert hash(again) == hash(tokenizer)
    assert repr(again) == repr(tokenizer)
    assert again != characters.CharTokenizer(text + "\t", again.boundary) or "\t" in text
    assert again.decode(again.encode(text)) == text
    assert b"".join(again.decode_bytes([i]) for i in again.encode(text)) == text.encode()
    assert list(again.pieces(["a", "b"])) == ["a", "b"]


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"format": "nnhelpers.bpe 1"}',
        '{"format": "nnhelpers.characters 1", "characters": "ba"}',
        '{"format": "nnhelpers.characters 1", "characters": 7}',
        '{"format": "nnhelpers.characters 1", "characters": "ab", "boundary": 3}',
        '{"format": "nnhelpers.characters 1", "characters": "ab", "boundary": "b"}',
    ],
)
def test_what_is_no_tokenizer_of_characters_is_refused(content, tmp_path):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(ValueError, match=r"CharTokenizer|damaged|not JSON"):
        characters.CharTokenizer.load(tmp_path / "t.json")


# One reader of texts


@given(text=st.text(alphabet="aé界\n\r\ufeff", max_size=40), size=st.integers(1, 9), mark=st.booleans())
@settings(deadline=None, max_examples=100)
def test_a_text_is_the_same_however_it_was_saved_and_however_it_is_read(text, size, mark, tmp_path_factory):
    path = tmp_path_factory.mktemp("t") / "text.txt"
    text = text.lstrip("\ufeff")
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + text.encode())
    expected = text.replace("\r\n", "\n").replace("\r", "\n")
    blocks = list(data.read_blocks(path, size))
    assert "".join(blocks) == data.read_text(path) == expected
    assert max(map(len, blocks), default=0) <= size


@given(before=st.text(alphabet="a界é", max_size=30), size=st.integers(1, 5))
@settings(deadline=None, max_examples=60)
def test_a_byte_that_is_not_utf_8_is_named_with_its_place(before, size, tmp_path_factory):
    path = tmp_path_factory.mktemp("t") / "text.txt"
    path.write_bytes(before.encode() + b"\xff" + b"abc")
    place = len(before.encode())
    with pytest.raises(
        ValueError, match=f"text.txt is not UTF-8 text: byte 0xff at position {place}; save it as UTF-8"
    ):
        list(data.read_blocks(path, size))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda t: characters.CharTokenizer(3), "made of one string or many, got int"),
        (lambda t: characters.CharTokenizer([1, 2]), "made of one string or many, got list"),
        (lambda t: characters.CharTokenizer(b"ab"), "made of one string or many, got bytes"),
        (lambda t: characters.CharTokenizer("ab", boundary=0), "the boundary is a character .* got 0"),
        # letters would be taken for texts, and the other way round
        (
            lambda t: t.encode(["a", "b"]),
            "takes one text, a string, got list; for several texts call it for each",
        ),
        (lambda t: t.encode(b"ab"), "got bytes"),
        (lambda t: t.encode(None), "got NoneType"),
        (lambda t: t.decode("1"), "ids are whole numbers, in a list or a 1-D tensor, got str"),
        (lambda t: t.decode([0.7]), "ids are whole numbers"),
        (lambda t: t.decode(1), "got int"),
        (lambda t: t.decode(torch.zeros(2, 2).long()), "got Tensor"),
        (lambda t: t.decode(torch.tensor([0.7])), "got Tensor"),
    ],
)
def test_what_is_no_text_and_no_id_gets_a_sentence(use, message):
    with pytest.raises(TypeError, match=message):
        use(characters.CharTokenizer("abc"))
