"""A tokenizer in the file of `transformers` and `tokenizers`, tokenizer.json, written and read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..bpe import GPT2_PATTERN, GPT4_PATTERN, BPETokenizer
from ..bpe.formats import END, byte_letters, write_huggingface
from ..characters import CharTokenizer
from ..contracts import StrPath
from ..files import read_json, write_json
from .folders import CONFIG, TOKENIZER, TOKENIZER_CONFIG, check_export_folder, own_format, replacing

Tokenizer = CharTokenizer | BPETokenizer


def check_tokenizer(tokenizer: Tokenizer) -> None:
    """Raise `TypeError` for anything but the two tokenizers of this package."""
    if not isinstance(tokenizer, CharTokenizer | BPETokenizer):
        raise TypeError(f"a CharTokenizer or a BPETokenizer can be written, got {type(tokenizer).__name__}")


def end_id(tokenizer: Tokenizer) -> int | None:
    """The id of the token that begins and ends a text, if there is one."""
    if isinstance(tokenizer, BPETokenizer):
        return tokenizer.special_tokens.get(END)
    return None if tokenizer.boundary is None else 0


# ---- out

# every character on its own
CHARACTER_SPLIT = {
    "type": "Split",
    "pattern": {"Regex": r"[\s\S]"},
    "behavior": "Isolated",
    "invert": False,
}


def save_tokenizer(tokenizer: Tokenizer, folder: StrPath) -> None:
    """Write the tokenizer alone into `folder`, from which `transformers` and `tokenizers` load it.

    An earlier tokenizer of `save_tokenizer` is replaced. A folder with a model raises `ValueError`, because its
    config.json holds ids of the model's tokenizer: `save` writes both together. `OSError` as in `save`.
    """
    folder = Path(folder)
    check_tokenizer(tokenizer)
    check_export_folder(folder)
    if (folder / CONFIG).exists():
        raise ValueError(
            f"{folder} holds a model; write both with save(model, folder, tokenizer), or take another folder"
        )
    with replacing(folder) as new:
        write_tokenizer(tokenizer, new)


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write both files into a folder, whatever lies there."""
    if isinstance(tokenizer, BPETokenizer):
        write_huggingface(tokenizer, folder)
    else:
        _write_characters(tokenizer, folder)


def _write_characters(tokenizer: CharTokenizer, folder: Path) -> None:
    """tokenizer.json of one token a character. A character outside the vocabulary raises there as it does here."""
    vocab = {character: i for i, character in enumerate(tokenizer.characters)}
    content = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": CHARACTER_SPLIT,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unknown>"},
        "decoder": {"type": "Fuse"},
    }
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    if tokenizer.boundary is not None:
        config |= {"bos_token": tokenizer.boundary, "eos_token": tokenizer.boundary}
    write_json(folder / TOKENIZER, content)
    write_json(folder / TOKENIZER_CONFIG, config)


# ---- in: the settings of its parts, each with the values that give the ids that ours gives (None: all do).

ANY = None
Settings = Mapping[str, Sequence[Any] | None]

WHOLE: Settings = {
    "version": ["1.0"],
    "truncation": [None],
    "padding": [None],
    "added_tokens": ANY,
    "normalizer": [None],
    "pre_tokenizer": ANY,
    "post_processor": ANY,
    "decoder": ANY,
    "model": ANY,
}
BPE: Settings = {
    # old files leave the type out
    "type": ["BPE", None],
    "vocab": ANY,
    "merges": ANY,
    "dropout": [None, 0.0],
    "continuing_subword_prefix": [None, ""],
    "end_of_word_suffix": [None, ""],
    "ignore_merges": [None, False],
    # what happens to unknown letters: there are none, because every byte is a token
    "unk_token": ANY,
    "fuse_unk": ANY,
    "byte_fallback": ANY,
}
WORD_LEVEL: Settings = {"type": ["WordLevel"], "vocab": ANY, "unk_token": ANY}
BYTE_LEVEL: Settings = {
    "type": ["ByteLevel"],
    "add_prefix_space": ANY,
    "trim_offsets": ANY,
    "use_regex": ANY,
}
SPLIT: Settings = {"type": ["Split"], "pattern": ANY, "behavior": ["Isolated"], "invert": [False]}
ADDED_TOKEN: Settings = {
    "id": ANY,
    "content": ANY,
    "single_word": [False],
    "lstrip": [False],
    "rstrip": [False],
    "normalized": [False, True],
    "special": ANY,
}
# the template that transformers writes for a tokenizer that adds nothing
TEXT_ALONE = [{"Sequence": {"id": "A", "type_id": 0}}]


def load_tokenizer(folder: StrPath) -> Tokenizer:
    """The tokenizer in a folder: a `CharTokenizer` or, in the byte-level form of GPT-2, a `BPETokenizer`.

    `encode(text, "all")` gives the ids that the library `tokenizers` gives: it knows every added token wherever it
    stands. What ours do not have (normalizers, other pre-tokenizers and models, added tokens that take in spaces,
    other orders of ids) raises `ValueError`. A pattern that is neither GPT-2's nor GPT-4's warns: `tokenizers` reads
    it by another engine, Oniguruma. So do letters that are younger than the Unicode version of one of the two engines.
    """
    content = read_json(Path(folder) / TOKENIZER)
    if own := own_format(content):
        raise ValueError(f"{TOKENIZER} says {own!r}: read it with the load method of the tokenizer's class")
    _check_part(content, "the tokenizer", WHOLE)
    _check_post_processor(content.get("post_processor"))
    model = content.get("model")
    kind = _type_of(model)
    if kind == "BPE" or (kind == "no type" and isinstance(model, dict) and "merges" in model):
        return _read_bpe(content)
    if kind == "WordLevel":
        return _read_characters(content, Path(folder))
    raise _refused(f"the model is {kind}, but ours are BPE and, for characters, WordLevel")


def _read_bpe(content: Mapping[str, Any]) -> BPETokenizer:
    model = content["model"]
    _check_part(model, "the model", BPE)
    _check_part(content.get("decoder"), "the decoder", BYTE_LEVEL)
    vocab = _read_vocab(model)
    special_tokens = _read_added_tokens(content.get("added_tokens"), vocab)
    merges = _read_merges(model.get("merges"), vocab, special_tokens)
    pattern = _read_pattern(content.get("pre_tokenizer"))
    ranks = _read_ranks(vocab, special_tokens)
    try:
        tokenizer = BPETokenizer(ranks, pattern, special_tokens)
        same = list(tokenizer.merges) == merges
    except ValueError as error:
        raise _refused(str(error)) from None
    if not same:
        raise _refused("its merges do not make the tokens in the order of their ids")
    return tokenizer


def _read_characters(content: Mapping[str, Any], folder: Path) -> CharTokenizer:
    _check_part(content["model"], "the model", WORD_LEVEL)
    _check_part(content.get("decoder"), "the decoder", {"type": ["Fuse"]})
    if content.get("pre_tokenizer") != CHARACTER_SPLIT:
        raise _refused("its words are not single characters: it cuts texts otherwise than `save` writes")
    vocab = _read_vocab(content["model"])
    if content["model"].get("unk_token") in vocab:
        raise _refused("it has a token for unknown characters, but a CharTokenizer raises an error for them")
    if not _read_added_tokens(content.get("added_tokens"), vocab).keys() <= vocab.keys():
        raise _refused("it has added tokens, but a CharTokenizer has characters alone")
    tokens = sorted(vocab, key=lambda token: vocab[token])
    are_characters = all(len(token) == 1 for token in tokens)
    are_in_order = [vocab[token] for token in tokens] == list(range(len(tokens)))
    if not (tokens and are_characters and are_in_order):
        raise _refused("its tokens are not single characters with the ids 0, 1, 2, …")
    return _characters_tokenizer("".join(tokens), _read_boundary(folder))


def _read_boundary(folder: Path) -> str | None:
    """The character that begins and ends a word: of all files only tokenizer_config.json tells it."""
    path = folder / TOKENIZER_CONFIG
    config = read_json(path) if path.exists() else {}
    boundary = config.get("bos_token") if isinstance(config, dict) else None
    return boundary if isinstance(boundary, str) else None


def _characters_tokenizer(characters: str, boundary: str | None) -> CharTokenizer:
    try:
        tokenizer = CharTokenizer(characters.removeprefix(boundary or ""), boundary)
    except ValueError as error:
        raise _refused(str(error)) from None
    if tokenizer.characters != characters:
        raise _refused("its characters are not sorted, but a CharTokenizer's are, after the boundary")
    return tokenizer


def _read_pattern(pre_tokenizer: Any) -> str | None:
    """The pattern that cuts a text into chunks: in a ByteLevel that is GPT-2's, or in a Split before it."""
    steps = [pre_tokenizer]
    if _type_of(pre_tokenizer) == "Sequence":
        steps = pre_tokenizer.get("pretokenizers")
    kinds = [_type_of(step) for step in steps] if isinstance(steps, list) else []
    if kinds not in (["ByteLevel"], ["Split", "ByteLevel"]):
        given = " and ".join(kinds) or "empty"
        raise _refused(f"the pre-tokenizer is {given}, but ours is ByteLevel, or a Split before it")
    byte_level = steps[-1]
    _check_part(byte_level, "the pre-tokenizer", {**BYTE_LEVEL, "add_prefix_space": [False]})
    has_own_pattern = byte_level.get("use_regex", True)
    if len(steps) == 1:
        return GPT2_PATTERN if has_own_pattern else None
    if has_own_pattern:
        raise _refused("its texts are cut twice, by a Split and by ByteLevel with use_regex=true")
    return _read_split(steps[0])


def _read_split(step: Mapping[str, Any]) -> str:
    _check_part(step, "the pre-tokenizer", SPLIT)
    pattern = step.get("pattern")
    if not isinstance(pattern, dict) or list(pattern) != ["Regex"] or not isinstance(pattern["Regex"], str):
        raise _refused(f"the pre-tokenizer splits at {pattern!r}, but ours at a regular expression")
    if pattern["Regex"] not in (GPT2_PATTERN, GPT4_PATTERN):
        warnings.warn(
            f"{TOKENIZER}: the pattern {pattern['Regex']!r} is neither GPT-2's nor GPT-4's; tokenizers reads it by "
            "another engine than this package, and may cut some texts otherwise",
            stacklevel=5,
        )
    return pattern["Regex"]


def _read_vocab(model: Mapping[str, Any]) -> dict[str, int]:
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or not all(type(i) is int for i in vocab.values()):
        raise _refused("the vocabulary is no table from tokens to ids")
    return vocab


def _read_added_tokens(added: Any, vocab: Mapping[str, int]) -> dict[str, int]:
    """The special tokens and their ids; those outside the vocabulary have the ids that `tokenizers` gives them."""
    if not isinstance(added, list):
        raise _refused(f"added_tokens is {added!r}, but should be a list")
    special_tokens: dict[str, int] = {}
    next_id = len(vocab)
    for token in added:
        _check_part(token, "an added token", ADDED_TOKEN)
        content = token.get("content")
        if not isinstance(content, str) or content in special_tokens:
            raise _refused(f"the added token {content!r} is no text, or is there twice")
        expected = vocab.get(content, next_id)
        if token.get("id") != expected:
            raise _refused(
                f"the added token {content!r} has id {token.get('id')!r}, but should have {expected}"
            )
        special_tokens[content] = expected
        next_id = max(next_id, expected + 1)
    if len({token.get("normalized") for token in added}) > 1:
        raise _refused("of its added tokens some are normalized and some not, so that one can hide another")
    return special_tokens


def _read_merges(
    merges: Any, vocab: Mapping[str, int], special_tokens: Mapping[str, int]
) -> list[tuple[int, int]]:
    """The merged pairs of ids; in the file each is "a b" or ["a", "b"]."""
    pairs = []
    for merge in merges if isinstance(merges, list) else [merges]:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(token, str) for token in pair):
            raise _refused(f"the merge {merge!r} is no pair of tokens")
        for token in (*pair, "".join(pair)):
            if token not in vocab or token in special_tokens:
                raise _refused(f"the merge {merge!r} needs the token {token!r}, which is no ordinary one")
        pairs.append((vocab[pair[0]], vocab[pair[1]]))
    return pairs


def _read_ranks(vocab: Mapping[str, int], special_tokens: Mapping[str, int]) -> dict[bytes, int]:
    """The bytes and the id of every token that is not special."""
    byte_of = {letter: i for i, letter in enumerate(byte_letters())}
    ranks: dict[bytes, int] = {}
    for token, i in vocab.items():
        if token not in special_tokens:
            if not all(letter in byte_of for letter in token):
                raise _refused(f"the token {token!r} is not spelled in the letters that stand for bytes")
            ranks[bytes(byte_of[letter] for letter in token)] = i
    for token in special_tokens:
        if token in byte_of:
            raise _refused(f"the special token {token!r} is the letter of a byte")
    return ranks


def _check_post_processor(part: Any) -> None:
    """A ByteLevel changes no id, nor does a template of the text alone; others add tokens before or after it."""
    if part is None or _type_of(part) == "ByteLevel":
        return
    if _type_of(part) == "TemplateProcessing" and part.get("single") == TEXT_ALONE:
        return
    raise _refused(f"the post-processor {_type_of(part)} may add tokens to a text, which ours do not")


def _check_part(part: Any, what: str, settings: Settings) -> None:
    """Raise `ValueError` unless `part` has only these settings, with these values; one left out counts as None."""
    if not isinstance(part, dict):
        raise _refused(f"{what} is {part!r}")
    if unknown := sorted(part.keys() - settings.keys()):
        raise _refused(f"{what} has the setting {unknown[0]!r}, which ours do not have")
    for name, allowed in settings.items():
        if allowed is not None and part.get(name) not in allowed:
            wanted = " or ".join(repr(each) for each in allowed)
            raise _refused(f"{what} has {name}={_shortened(part.get(name))}, but ours have {wanted} here")


def _type_of(part: Any) -> str:
    """The type that a part of tokenizer.json names, or "no type"."""
    name = part.get("type") if isinstance(part, dict) else None
    return name if isinstance(name, str) else "no type"


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _refused(reason: str) -> ValueError:
    return ValueError(f"{TOKENIZER} cannot be read: {reason}")
