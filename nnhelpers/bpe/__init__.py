"""Lecture 8: byte-level byte-pair encoding, the tokenizer of GPT-2 and GPT-4. It needs no torch.

    python -m nnhelpers.bpe train FILE --vocab-size 4096 --out tok.json
    python -m nnhelpers.bpe encode tok.json FILE --out ids.npy
    python -m nnhelpers.bpe decode tok.json ids.npy --out text.txt

To read in this order: `splitting` (a text into chunks), `merging` (a chunk into ids), `learning` (which pairs to
merge), `tokenizer` (the three together), `formats` (files of other programs).
"""

from .formats import BUILT_IN, load_ranks
from .splitting import GPT2_PATTERN, GPT4_PATTERN, O200K_PATTERN
from .tokenizer import BPETokenizer

__all__ = ["BUILT_IN", "GPT2_PATTERN", "GPT4_PATTERN", "O200K_PATTERN", "BPETokenizer", "load_ranks"]
