"""Answers to the exercises of lecture 8: the usual wrong ones, and others that are right."""

_DROPOUT = (
    "def encode_with_dropout(ids, rank, p, rng):\n    while True:\n"
    "        kept = [pair for pair in pairwise(ids) if pair in rank and {keep}]\n"
    "        if not kept:\n            return ids\n"
    "        best = {best}\n        ids = replace(ids, best, {new})"
)
_FRAME = (
    "def code_point(raw):\n    first = raw[0]\n"
    "    n = 1 if first < 128 else 2 if first >> 5 == 6 else 3 if first >> 4 == 14 else 4 if first >> 3 == 30 else 0\n"
    "    if n == 0 or len(raw) != n:\n        raise ValueError\n"
    "    number = first & (0xFF >> (n + 1) if n > 1 else 0x7F)\n"
    "    for b in raw[1:]:\n        if {test}:\n            raise ValueError\n"
    "        number = number << 6 | b & 0x3F\n    return number"
)
_DIGITS = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"
_RIGHT = {
    "keep": "not rng.random() < p",
    "best": "min(kept, key=rank.get)",
    "new": "256 + rank[best]",
}

WRONG = {
    "# Exercise 1": [
        # no check of the bytes that follow
        "def code_point(raw):\n    first, *rest = raw\n    number = first & (0x7F >> len(raw) if rest else 0x7F)\n"
        "    for byte in rest:\n        number = number << 6 | byte & 0x3F\n    return number",
        # only what two bytes can hold
        "def code_point(raw):\n    return ord(bytes(raw).decode()) & 0x7FF",
        # only the top bit of what follows is looked at, and only of the last byte
        _FRAME.format(test="not b & 0x80"),
        _FRAME.format(test="b is raw[-1] and b >> 6 != 2"),
        _FRAME.format(test="b is raw[1] and b >> 6 != 2"),
        # Latin-1
        "def code_point(raw):\n    return ord(bytes(raw).decode('latin-1')[0])",
        # the payload of the first byte is taken whole
        "def code_point(raw):\n    bytes(raw).decode()\n    number = raw[0]\n"
        "    for byte in raw[1:]:\n        number = number << 6 | byte & 0x3F\n    return number",
        # seven bits a byte
        "def code_point(raw):\n    ord(bytes(raw).decode())\n    number = raw[0] & (0x7F >> len(raw))\n"
        "    for byte in raw[1:]:\n        number = number << 7 | byte & 0x3F\n    return number",
    ],
    "# Exercise 2": [
        'first_pair = ("b", "a")\nsecond_pair = ("Z", "Z")\nsymbols_left = 4',
        'first_pair = ("a", "b")\nsecond_pair = ("Z", "c")\nsymbols_left = 4',
        'first_pair = ("a", "b")\nsecond_pair = ("Z", "Z")\nsymbols_left = 3',  # as if overlaps could be replaced
        'first_pair = "ab"\nsecond_pair = "abab"\nsymbols_left = 5',
    ],
    "# Exercise 3": [
        "digits_from_the_right = bpe.GPT4_PATTERN",  # from the left
        r'digits_from_the_right = bpe.GPT4_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")',  # one by one
        # nothing after a letter in the number's rest: 1234567 stays as one
        r'digits_from_the_right = bpe.GPT4_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}+")',
        # the look ahead does not ask for the end of the number
        r'digits_from_the_right = bpe.GPT4_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}{1,3}(?=(?:\p{N}{3})*)")',
        r'digits_from_the_right = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"',  # all else is lost
        "digits_from_the_right = 3",
        # GPT-2's rest, a rest that loses characters, and digits that are not all numbers
        f'digits_from_the_right = r"{_DIGITS}" r"| ?\\p{{L}}+| ?[^\\s\\p{{L}}\\p{{N}}]+[\\r\\n]*|\\s+"',
        f'digits_from_the_right = r"{_DIGITS}" r"| ?\\p{{L}}+|[=+,;]\\n?| "',
        r'digits_from_the_right = bpe.GPT4_PATTERN.replace(r"\p{N}{1,3}", r"\d{1,3}(?=(?:\d{3})*(?!\d))")',
    ],
    "# Exercise 4": [
        # the longest token first
        "def fewest_tokens(raw, tokens):\n    n = i = 0\n    while i < len(raw):\n"
        "        i += next(k for k in range(len(raw) - i, 0, -1) if raw[i : i + k] in tokens)\n        n += 1\n"
        "    return n",
        # the longest token first, from the right
        "def fewest_tokens(raw, tokens):\n    n = 0\n    while raw:\n"
        "        raw = raw[: -max(k for k in range(1, len(raw) + 1) if raw[-k:] in tokens)]\n        n += 1\n"
        "    return n",
        "def fewest_tokens(raw, tokens):\n    return len(own.encode(raw.decode()))",  # byte pairs
        "def fewest_tokens(raw, tokens):\n    return len(raw)",
        # one too many
        "def fewest_tokens(raw, tokens):\n    fewest = [1] + [math.inf] * len(raw)\n"
        "    for j in range(1, len(raw) + 1):\n"
        "        fewest[j] = 1 + min(fewest[i] for i in range(j) if raw[i:j] in tokens)\n    return fewest[-1]",
    ],
    "# Exercise 5": [
        _DROPOUT.format(**_RIGHT | {"keep": "True"}),  # no chance in it
        _DROPOUT.format(**_RIGHT | {"keep": "rng.random() < p"}),  # the wrong way round
        _DROPOUT.format(**_RIGHT | {"best": "max(kept, key=rank.get)"}),  # the last merge first
        _DROPOUT.format(**_RIGHT | {"best": "kept[0]"}),  # the leftmost first
        _DROPOUT.format(**_RIGHT | {"new": "rank[best]"}),
        # drawn once for each pair, before the loop
        "def encode_with_dropout(ids, rank, p, rng):\n"
        "    kept = {pair: r for pair, r in rank.items() if rng.random() >= p}\n    ids = list(ids)\n"
        "    while True:\n"
        "        found = [(kept[q], i) for i, q in enumerate(zip(ids, ids[1:], strict=False)) if q in kept]\n"
        "        if not found:\n            return ids\n"
        "        r, i = min(found)\n        ids[i : i + 2] = [256 + r]",
        # waits for luck, which with p = 1 never comes
        "def encode_with_dropout(ids, rank, p, rng):\n    while True:\n"
        "        pairs = [pair for pair in pairwise(ids) if pair in rank]\n"
        "        if not pairs:\n            return ids\n"
        "        kept = [pair for pair in pairs if rng.random() >= p]\n"
        "        if kept:\n            best = min(kept, key=rank.get)\n"
        "            ids = replace(ids, best, 256 + rank[best])",
        # drawn once for the word
        "def encode_with_dropout(ids, rank, p, rng):\n    if rng.random() < p:\n        return ids\n"
        "    return own.encode(bytes(ids).decode())",
    ],
    "# Exercise 6": [
        'times = {"eng": 1, "deu": 1, "ell": 1, "hin": 1, "kor": 1, "mya": 1}',
        'times = {"eng": 10, "deu": 10, "ell": 20, "hin": 30, "kor": 10, "mya": 50}',  # by bytes
        'times = {"eng": 1, "deu": 2, "ell": 4, "hin": 4, "kor": 2, "mya": 82}',  # fair, but at too high a price
        'times = {"eng": 0, "deu": 0, "ell": 0, "hin": 0, "kor": 0, "mya": 1}',
        'times = {"mya": 36}',
        "times = dict.fromkeys(six, 10**9)",
    ],
}

RIGHT = {
    "# Exercise 1": [
        """def code_point(raw):
    (character,) = bytes(raw).decode("utf-8")
    return int.from_bytes(character.encode("utf-32-be"), "big")
""",
    ],
    "# Exercise 4": [
        """def fewest_tokens(raw, tokens):
    from functools import cache

    @cache
    def fewest(i):
        if i == len(raw):
            return 0
        return min((1 + fewest(j) for j in range(i + 1, len(raw) + 1) if raw[i:j] in tokens), default=math.inf)

    return fewest(0)
""",
    ],
    "# Exercise 5": [
        """def encode_with_dropout(ids, rank, p, rng):
    ids = list(ids)
    while True:
        found = []
        for i in range(len(ids) - 1):
            if (ids[i], ids[i + 1]) in rank and rng.random() >= p:
                found.append((rank[ids[i], ids[i + 1]], i))
        if not found:
            return ids
        r, i = min(found)
        ids[i : i + 2] = [256 + r]
""",
    ],
    "# Exercise 6": [
        """times = {"eng": 2, "deu": 4, "ell": 8, "hin": 8, "kor": 4, "mya": 72}
""",
    ],
}
