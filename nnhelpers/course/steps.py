"""The twelve steps of lecture 5's walk back: what goes in, what comes out, hints, and remarks for usual mistakes.

They stand here and not in the notebook, because there they would be read before the questions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from nnhelpers.course import checks

Tensors = dict[str, torch.Tensor]
Sheet = tuple[Tensors, Tensors, torch.Tensor, torch.Tensor]  # tensors, their gradients, windows, targets
Formula = Callable[[SimpleNamespace], Any]

TOLERANCE = 1e-10
LAST_HINT = "the lines are in the solutions, at the end of the page"
FLOAT32 = (
    "computed in float32 (torch.zeros gives that): torch.zeros_like(…) takes the precision of its argument"
)
OTHER_SIZES = (
    "right for our network; the tiny one has other sizes: take them from the shapes of the arguments"
)


@dataclass(frozen=True)
class Step:
    """given and wanted: names, `d_` before that of a slope; usual: (part, wrong formula, what to say of it)."""

    given: str
    wanted: str
    hints: tuple[str, ...]
    usual: tuple[tuple[str, Formula, str], ...]


def _all_columns(a: SimpleNamespace) -> torch.Tensor:
    table = torch.zeros_like(a.logp)
    table[:, a.y] = -1 / len(a.logp)
    return table


def _one_row_each(a: SimpleNamespace) -> torch.Tensor:
    table = torch.zeros(a.n_symbols, a.d_emb.shape[-1], dtype=a.d_emb.dtype)
    table[a.x] = a.d_emb
    return table


def _d_invstd(a: SimpleNamespace) -> torch.Tensor:
    return (a.d_xhat * a.centred).sum(dim=0, keepdim=True)


def _d_inverse(a: SimpleNamespace) -> torch.Tensor:
    return (a.d_p * a.exps).sum(dim=1, keepdim=True)


def _short(a: SimpleNamespace, mean: bool = True, variance: bool = True) -> torch.Tensor:
    inner = a.d_pre - a.d_pre.mean(dim=0) * mean - a.xhat * (a.d_pre * a.xhat).mean(dim=0) * variance
    return a.gamma * a.invstd * inner


STEPS = {
    1: Step(
        "logp y",
        "d_logp",
        (
            "zeros everywhere but at [i, y[i]]",
            "torch.zeros_like(logp) makes the table; [torch.arange(n), y] picks one place in each row",
        ),
        (("d_logp", _all_columns, "[:, y] fills whole columns; one place in each row is meant"),),
    ),
    2: Step(
        "d_logp p",
        "d_p",
        ("the slope of ln a is 1 / a", "arriving slope times the slope of the operation: the chain rule"),
        (
            ("d_p", lambda a: a.d_logp, "the slope of the logarithm is missing"),
            ("d_p", lambda a: 1 / a.p, "that is the slope of ln alone: the slope that arrives is missing"),
            ("d_p", lambda a: -1 / a.p, "that is the slope of -ln alone: the slope that arrives is missing"),
            ("d_p", lambda a: a.d_logp * a.p, "the slope of ln p is 1 / p, not p"),
        ),
    ),
    3: Step(
        "d_p exps total",
        "d_inverse d_total",
        (
            "the inverse of a row was used in all entries of the row",
            "sum(dim=1, keepdim=True) keeps the shape (N, 1); then the power rule",
        ),
        (
            (
                "d_inverse",
                lambda a: a.d_p.sum(dim=1, keepdim=True),
                "in a product the slope of one factor is the other factor: exps",
            ),
            ("d_total", _d_inverse, "d_total lacks the slope of 1 / total"),
            (
                "d_total",
                lambda a: -_d_inverse(a) * a.total**2,
                "d_inverse is right; in d_total the power has the wrong sign: total**-2",
            ),
            (
                "d_total",
                lambda a: -_d_inverse(a) / a.total,
                "d_inverse is right; the slope of total**-1 is -total**-2",
            ),
            ("d_total", lambda a: -(a.total**-2), "d_total lacks the slope that arrives, d_inverse"),
        ),
    ),
    4: Step(
        "d_p d_total inverse",
        "d_exps",
        (
            "which two lines of `atoms` use exps?",
            "one summand for the product, one for the sum; (N, 27) + (N, 1) broadcasts by itself",
        ),
        (
            ("d_exps", lambda a: a.d_p * a.inverse, "a summand is missing: the path through the total"),
            (
                "d_exps",
                lambda a: a.d_total.expand_as(a.d_p),
                "a summand is missing: the path through the product",
            ),
            ("d_exps", lambda a: a.d_p * a.inverse - a.d_total, "slopes of two paths are added"),
            ("d_exps", lambda a: a.d_p + a.d_total, "the path through the product lacks its other factor"),
            (
                "d_exps",
                lambda a: a.d_p * a.inverse + a.d_total / a.d_p.shape[1],
                "a sum gives each summand its whole slope; only a mean divides",
            ),
        ),
    ),
    5: Step(
        "d_exps exps",
        "d_shifted d_top",
        (
            "the slope of e^a is e^a, and the forward pass has kept it",
            "top was copied along the row and subtracted: minus, and a sum",
        ),
        (
            ("d_shifted", lambda a: a.d_exps, "the slope of the exponential is missing"),
            (
                "d_shifted",
                lambda a: a.d_exps / a.exps,
                "d_shifted: the slope of e^a is e^a, so multiply by exps",
            ),
            (
                "d_shifted",
                lambda a: a.d_exps * a.exps.exp(),
                "d_shifted: exps is e^a already; no second exp",
            ),
            (
                "d_top",
                lambda a: (a.d_exps * a.exps).sum(dim=1, keepdim=True),
                "d_top: top is subtracted, so its slope has a minus",
            ),
            (
                "d_top",
                lambda a: 0 * a.d_exps[:, :1],
                "d_top is zero for the slopes of our network, but not for any: write what the line says",
            ),
            (
                "d_top",
                lambda a: -a.d_exps.sum(dim=1, keepdim=True),
                "d_top: the slopes that come through exp, d_shifted, are summed",
            ),
        ),
    ),
    6: Step(
        "d_logits h W2",
        "d_h d_W2 d_b2",
        (
            "5.3 has the first two; the bias was copied to every example",
            "sum over the outputs for h, over the examples for W2 and for b2",
        ),
        (
            (
                "d_h",
                lambda a: a.d_logits @ a.W2,
                "W2 stands as in the forward pass: for d_h it has to be transposed",
            ),
        ),
    ),
    7: Step(
        "d_h pre",
        "d_pre",
        (
            "a comparison gives True and False, and they multiply as 1 and 0",
            "no `if`: multiply the table d_h by the table (pre > 0)",
        ),
        (
            ("d_pre", lambda a: a.d_h, "no gate is shut: where pre was negative, the slope is 0"),
            ("d_pre", lambda a: a.d_h * (a.d_h > 0), "the gate looks at pre, not at the slope that arrives"),
            ("d_pre", lambda a: a.d_h * a.pre, "the slope of an open gate is 1, not pre"),
            (
                "d_pre",
                lambda a: a.d_h * a.pre.clamp(min=0),
                "the slope of an open gate is 1, not pre",
            ),
            ("d_pre", lambda a: a.pre > 0, "these are the gates alone: the slope that arrives is missing"),
            (
                "d_pre",
                lambda a: (a.pre > 0).to(a.pre.dtype),
                "these are the gates alone: the slope that arrives is missing",
            ),
        ),
    ),
    8: Step(
        "d_pre xhat gamma",
        "d_xhat d_gamma d_beta",
        (
            "a product and a sum, each with something that was copied to all examples",
            "what was copied along axis 0 gets the sum over axis 0",
        ),
        (
            ("d_xhat", lambda a: a.d_pre, "d_xhat lacks the factor gamma"),
            ("d_xhat", lambda a: a.d_pre / a.gamma, "in a product the slope is times the other factor"),
            ("d_gamma", lambda a: a.d_pre.sum(dim=0), "d_gamma lacks the factor xhat"),
            ("d_gamma", lambda a: a.xhat.sum(dim=0), "d_gamma lacks the slope that arrives"),
            ("d_beta", lambda a: (a.d_pre * a.xhat).sum(dim=0), "d_beta has no factor xhat: beta is added"),
        ),
    ),
    9: Step(
        "d_xhat centred invstd",
        "d_invstd d_var",
        (
            "invstd was copied to all examples; then the power rule",
            "sum(dim=0, keepdim=True); with a = var + 1e-5 the slope is -0.5 * a ** -1.5, and that is invstd**3",
        ),
        (
            ("d_var", _d_invstd, "d_var lacks the slope of the power"),
            (
                "d_var",
                lambda a: -0.5 * a.invstd**-1.5 * _d_invstd(a),
                "the power rule is right, but invstd is not var: it is (var + 1e-5) ** -0.5 already",
            ),
            (
                "d_var",
                lambda a: -0.5 * a.invstd**1.5 * _d_invstd(a),
                "the power rule is right, but invstd is not var: it is (var + 1e-5) ** -0.5 already",
            ),
            (
                "d_var",
                lambda a: -0.5 * (a.centred**2).mean(dim=0, keepdim=True) ** -1.5 * _d_invstd(a),
                "the tiny 1e-5 under the root is missing; invstd has it",
            ),
            ("d_var", lambda a: -0.5 * a.invstd**3, "d_var lacks the slope that arrives, d_invstd"),
        ),
    ),
    10: Step(
        "d_xhat d_var centred invstd",
        "d_squares d_centred",
        (
            "a sum is broadcast on the way back, and the division by N stays",
            "d_squares is the same in every row; the slope of c**2 is 2 c; then add the product path",
        ),
        (
            (
                "d_squares",
                lambda a: a.d_var / len(a.centred),
                "each example has a square of its own: d_squares has N equal rows (expand_as)",
            ),
            (
                "d_centred",
                lambda a: a.d_xhat * a.invstd,
                "a summand is missing: the path through the variance",
            ),
            (
                "d_centred",
                lambda a: 2 * a.centred * a.d_var / len(a.centred),
                "a summand is missing: the path through the product",
            ),
            (
                "d_centred",
                lambda a: a.d_xhat * a.invstd + a.centred * a.d_var / len(a.centred),
                "the slope of c**2 is 2 c: the 2 is missing",
            ),
            (
                "d_centred",
                lambda a: a.d_xhat * a.invstd + 2 * a.centred * a.d_var,
                "in d_centred the division by N is missing: a square gets d_squares, not d_var",
            ),
        ),
    ),
    11: Step(
        "d_centred",
        "d_mean d_z",
        (
            "the mean was subtracted from every example; z is used twice",
            "minus a sum for the mean; z gets d_centred and an N-th of d_mean",
        ),
        (
            ("d_z", lambda a: a.d_centred, "a summand is missing in d_z: the path through the mean"),
            (
                "d_z",
                lambda a: a.d_centred - a.d_centred.sum(dim=0),
                "d_z: mean = sum / N, so each example gets an N-th of d_mean",
            ),
            (
                "d_z",
                lambda a: a.d_centred + a.d_centred.mean(dim=0),
                "d_z: d_mean has its minus already; the two paths are added",
            ),
        ),
    ),
    12: Step(
        "d_emb x n_symbols",
        "d_C",
        (
            "a table of zeros, and each of the rows is added to the row of its id",
            "d_C.index_add_(0, ids, rows), where ids is x.view(-1) and rows has as many rows, of d_emb.shape[-1]",
        ),
        (("d_C", _one_row_each, "of all rows that go to one letter a single one has arrived"),),
    ),
    13: Step(
        "d_pre xhat gamma invstd",
        "d_z",
        (
            "a mean over the batch is .mean(dim=0)",
            "subtract two things from d_pre; the second is xhat times a mean; gamma and invstd stand before",
        ),
        (
            ("d_z", lambda a: _short(a, mean=False), "the mean path is missing"),
            ("d_z", lambda a: _short(a, variance=False), "the variance path is missing"),
            ("d_z", lambda a: _short(a) / a.gamma, "the factor gamma is missing"),
            ("d_z", lambda a: _short(a) / a.invstd, "the factor invstd is missing"),
            (
                "d_z",
                lambda a: (
                    a.gamma
                    * a.invstd
                    * (a.d_pre - a.d_pre.sum(dim=0) - a.xhat * (a.d_pre * a.xhat).sum(dim=0))
                ),
                "the bars are means, not sums",
            ),
        ),
    ),
}


class Checks:
    """The checks of the steps on some networks: on the first, whose shapes the text names, and on others."""

    def __init__(self, *sheets: Sheet) -> None:
        self.sheets = [_by_name(*sheet) for sheet in sheets]

    def __call__(self, number: int, answer: Callable, name: str = "") -> None:
        """Print what is to be said of an answer to a step."""
        step = STEPS[number]
        given, wanted = step.given.split(), step.wanted.split()
        cases = [(tuple(a[name] for name in given), _one_or_all(a, wanted)) for a in self.sheets]
        if number == 5:  # what arrives there by itself sums to zero in each row, and would forgive any d_top
            d_exps, exps = torch.randn_like(cases[0][0][0]), cases[0][0][1]
            cases.append(((d_exps, exps), (d_exps * exps, -(d_exps * exps).sum(dim=1, keepdim=True))))
        remark = remark_on(step, answer, cases)
        hints = [remark] if remark else [*step.hints, LAST_HINT]
        checks.function(
            name or f"step_{number}", answer, cases, hints=hints, parts=wanted, tolerance=TOLERANCE
        )


def _by_name(t: Tensors, d: Tensors, x: torch.Tensor, y: torch.Tensor) -> dict[str, Any]:
    slopes = {f"d_{name}": slope for name, slope in d.items()}
    return {**t, **slopes, "x": x, "y": y, "n_symbols": len(t["C"])}


def _one_or_all(values: dict[str, Any], wanted: Sequence[str]) -> Any:
    return values[wanted[0]] if len(wanted) == 1 else tuple(values[name] for name in wanted)


def remark_on(step: Step, answer: Callable, cases: Sequence[tuple[tuple, Any]]) -> str:
    """What to say of an answer that is wrong in a usual way, or the empty string."""
    n_right, remark = 0, ""
    for arguments, expected in cases:
        try:
            got = answer(*[a.clone() if torch.is_tensor(a) else a for a in arguments])
        except Exception as error:
            if "Boolean value of Tensor" in str(error):
                return "a table has no single truth value: instead of `if`, multiply by (pre > 0)"
            remark = OTHER_SIZES if n_right else ""
        else:
            if checks.same(got, expected, TOLERANCE):
                n_right += 1
                continue
            remark = _usual(step, arguments, got, expected)
        if remark:
            return remark
    return ""


def _usual(step: Step, arguments: tuple, got: Any, expected: Any) -> str:
    wanted = step.wanted.split()
    if len(wanted) > 1 and torch.is_tensor(got):
        return f"a single tensor comes back, and {len(wanted)} are asked: return {', '.join(wanted)}"
    if not torch.is_tensor(got) and not isinstance(got, (tuple, list)):
        return ""
    parts = dict(zip(wanted, got if len(wanted) > 1 else [got], strict=False))
    if checks.same(got, expected, 1e-5) and any(
        torch.is_tensor(part) and part.dtype == torch.float32 for part in parts.values()
    ):
        return FLOAT32
    a = SimpleNamespace(**dict(zip(step.given.split(), arguments, strict=True)))
    right = dict(zip(wanted, expected if len(wanted) > 1 else [expected], strict=True))
    for part, formula, remark in step.usual:
        is_wrong = not checks.same(parts.get(part), right[part], TOLERANCE)
        if is_wrong and _fits(formula, a, parts.get(part)):
            return remark
    return ""


def _fits(formula: Formula, a: SimpleNamespace, got: Any) -> bool:
    try:
        return checks.same(got, formula(a), TOLERANCE)
    except RuntimeError:  # where shapes do not fit, a formula says nothing
        return False
