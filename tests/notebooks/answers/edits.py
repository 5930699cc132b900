"""How a wrong answer is made from a right one."""


def changed(answer: str, old: str, new: str) -> str:
    """The answer with one thing changed."""
    assert answer.count(old) == 1
    return answer.replace(old, new)
