"""Answers to the exercises of lecture 8: the usual wrong ones, and others that are right."""

from .edits import changed

_MERGES = """def my_merges(text, n_merges):
    ids = list(text.encode())
    merges = []
    for new in range(256, 256 + n_merges):
        counts = Counter(pairwise(ids))
        if not counts or max(counts.values()) < 2:
            break
        pair = best_pair(counts)
        merges.append(pair)
        ids = replace(ids, pair, new)
    return merges
"""
_RANKS = """def encode_from_ranks(raw, ranks):
    parts = [raw[i : i + 1] for i in range(len(raw))]
    while True:
        found = []
        for i in range(len(parts) - 1):
            if parts[i] + parts[i + 1] in ranks:
                found.append((ranks[parts[i] + parts[i + 1]], i))
        if not found:
            return [ranks[part] for part in parts]
        rank, i = min(found)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
"""
_FRAME = (
    "def code_point(raw):\n    first = raw[0]\n"
    "    n = 1 if first < 128 else 2 if first >> 5 == 6 else 3 if first >> 4 == 14 else 4 if first >> 3 == 30 else 0\n"
    "    if n == 0 or len(raw) != n:\n        raise ValueError\n"
    "    number = first & (0xFF >> (n + 1) if n > 1 else 0x7F)\n"
    "    for b in raw[1:]:\n        if {test}:\n            raise ValueError\n"
    "        number = number << 6 | b & 0x3F\n    return number"
)
_UNITS = """def per_character(value, unit, some, n_ids):
    if unit == "bits per byte":
        return value * math.log(2) * len(some.encode()) / len(some)
    nats = value if unit == "nats per token" else math.log(value)
    return nats * n_ids / len(some)


"""
_FAULTS = "unfair = dict(which_fault)"
_DIGITS = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"
_PATIENTS = "diagnosis = dict(zip('ABCDE', {kinds}, strict=True))"

WRONG = {
    "# Exercise 1": [
        'first_pair = ("b", "a")\nsecond_pair = ("Z", "Z")\nsymbols_left = 4',
        'first_pair = ("a", "b")\nsecond_pair = ("Z", "c")\nsymbols_left = 4',
        'first_pair = ("a", "b")\nsecond_pair = ("Z", "Z")\nsymbols_left = 3',  # as if overlaps could be replaced
        'first_pair = "ab"\nsecond_pair = "abab"\nsymbols_left = 5',
    ],
    "# Exercise 2": [
        changed(_MERGES, " or max(counts.values()) < 2", ""),  # goes on with pairs that occur once
        changed(_MERGES, "best_pair(counts)", "max(counts, key=counts.get)"),  # ties by chance
        changed(_MERGES, "ids = replace(ids, pair, new)", "replace(ids, pair, new)"),  # the result is dropped
        changed(_MERGES, "replace(ids, pair, new)", "replace(ids, pair, 256)"),  # always the same symbol
        changed(_MERGES, "not counts or ", ""),  # an empty text
        changed(_MERGES, "merges.append(pair)", "merges.append(new)"),
        "def my_merges(text, n_merges):\n    return list(train_naive(text, n_merges)[0])",
    ],
    "# Exercise 3": [
        changed(_RANKS, "min(found)", "max(found)"),  # the last one first
        changed(_RANKS, "min(found)", "found[0]"),  # from left to right, whatever the rank
        changed(_RANKS, "min(found)", "min(found, key=lambda item: (item[0], -item[1]))"),  # the rightmost
        changed(_RANKS, "[ranks[part] for part in parts]", "parts"),
        "def encode_from_ranks(raw, ranks):\n    return encode_longest(raw, ranks)",
        "def encode_from_ranks(raw, ranks):\n    return list(raw)",
        "def encode_from_ranks(raw, ranks):\n    return [ranks[raw]]",
    ],
    "# Exercise 4": [
        # no check of the bytes that follow
        "def code_point(raw):\n    first, *rest = raw\n    number = first & (0x7F >> len(raw) if rest else 0x7F)\n"
        "    for byte in rest:\n        number = number << 6 | byte & 0x3F\n    return number",
        # only what two bytes can hold
        "def code_point(raw):\n    return ord(bytes(raw).decode()) & 0x7FF",
        # only the top bit of what follows is looked at, and only of one byte
        _FRAME.format(test="not b & 0x80"),
        _FRAME.format(test="b is raw[-1] and b >> 6 != 2"),
        _FRAME.format(test="b is raw[1] and b >> 6 != 2"),
        # Latin-1
        "def code_point(raw):\n    return ord(bytes(raw).decode('latin-1')[0])",
        # seven bits a byte
        "def code_point(raw):\n    ord(bytes(raw).decode())\n    number = raw[0] & (0x7F >> len(raw))\n"
        "    for byte in raw[1:]:\n        number = number << 7 | byte & 0x3F\n    return number",
    ],
    "# Exercise 5": [
        changed(_UNITS, "len(some.encode())", "len(some)") + _FAULTS,  # a byte taken for a character
        changed(_UNITS, "math.log(2) * ", "") + _FAULTS,  # bits taken for nats
        changed(_UNITS, " * n_ids / len(some)", "") + _FAULTS,  # per token
        changed(_UNITS, "nats * n_ids / len(some)", "nats * len(some) / n_ids") + _FAULTS,
        changed(_UNITS, "math.log(value)", "math.log2(value)") + _FAULTS,
        _UNITS + "unfair = dict(zip('ABCDEF', faults, strict=True))",  # in the order of the text
        _UNITS + "unfair = dict.fromkeys('ABCDEF', 'unequal work')",
    ],
    "# Exercise 6": [
        "digits_from_the_right = GPT4_PATTERN",  # from the left
        r'digits_from_the_right = GPT4_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")',  # one by one
        # nothing after a letter in the number's rest: 1234567 stays as one
        r'digits_from_the_right = GPT4_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}+")',
        # the look ahead does not ask for the end of the number
        r'digits_from_the_right = GPT4_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}{1,3}(?=(?:\p{N}{3})*)")',
        r'digits_from_the_right = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"',  # all else is lost
        "digits_from_the_right = 3",
        # GPT-2's rest, a rest that loses characters, and digits that are not all numbers
        f'digits_from_the_right = r"{_DIGITS}" r"| ?\\p{{L}}+| ?[^\\s\\p{{L}}\\p{{N}}]+[\\r\\n]*|\\s+"',
        f'digits_from_the_right = r"{_DIGITS}" r"| ?\\p{{L}}+|[=+,;]\\n?| "',
        r'digits_from_the_right = GPT4_PATTERN.replace(r"\p{N}{1,3}", r"\d{1,3}(?=(?:\d{3})*(?!\d))")',
    ],
    "# Exercise 7": [
        "diagnosis = dict.fromkeys('ABCDE', 'healthy')",
        _PATIENTS.format(kinds="kinds_of_patient"),  # in the order of the text
        _PATIENTS.format(kinds="list(patients.values())[::-1]"),
    ],
    "# Exercise 8": [
        'times = {"eng": 1, "deu": 1, "ell": 1, "hin": 1, "kor": 1, "mya": 1}',
        'times = {"eng": 10, "deu": 10, "ell": 20, "hin": 30, "kor": 10, "mya": 50}',  # by bytes
        'times = {"eng": 1, "deu": 2, "ell": 4, "hin": 4, "kor": 2, "mya": 82}',  # fair, but at too high a price
        'times = {"eng": 0, "deu": 0, "ell": 0, "hin": 0, "kor": 0, "mya": 1}',
        'times = {"mya": 36}',
        "times = dict.fromkeys(six, 10**9)",
    ],
}

RIGHT = {
    "# Exercise 2": [
        # without the helpers
        """def my_merges(text, n_merges):
    ids, merges = list(text.encode()), []
    while len(merges) < n_merges:
        counts = {}
        for pair in zip(ids, ids[1:]):
            counts[pair] = counts.get(pair, 0) + 1
        often = [(-n, pair) for pair, n in counts.items() if n > 1]
        if not often:
            return merges
        a, b = min(often)[1]
        out = []
        for i in ids:
            if out and out[-1] == a and i == b:
                out[-1] = 256 + len(merges)
            else:
                out.append(i)
        ids = out
        merges.append((a, b))
    return merges
""",
    ],
    "# Exercise 3": [
        _RANKS,
        # with the merges found again
        """def encode_from_ranks(raw, ranks):
    return Tokenizer(*merges_from_ranks(ranks)).encode_bytes(raw)
""",
    ],
    "# Exercise 4": [
        """def code_point(raw):
    (character,) = bytes(raw).decode("utf-8")
    return int.from_bytes(character.encode("utf-32-be"), "big")
""",
    ],
    "# Exercise 5": [
        """def per_character(value, unit, some, n_ids):
    scale = {
        "nats per token": n_ids,
        "perplexity": n_ids,
        "bits per byte": len(some.encode("utf-8")) / math.log2(math.e),
    }[unit]
    return (math.log(value) if unit == "perplexity" else value) * scale / len(some)


unfair = dict(which_fault)
""",
    ],
    "# Exercise 8": [
        """times = {"eng": 2, "deu": 4, "ell": 8, "hin": 8, "kor": 4, "mya": 72}
""",
        # the loop that the hint describes, with each of the usual roundings
        *[
            f"""times = dict.fromkeys(six, 1)
while True:
    each = costs_with(times)
    costliest = max(each, key=each.get)
    if each[costliest] <= 1.3 * min(each.values()):
        break
    times[costliest] = max(times[costliest] + 1, {rounding})
"""
            for rounding in (
                "int(times[costliest] * 1.5)",
                "round(times[costliest] * 1.5)",
                "-int(-times[costliest] * 1.5 // 1)",
            )
        ],
    ],
}
