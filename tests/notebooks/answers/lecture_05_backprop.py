"""Answers to the exercises of lecture 5: the usual wrong ones, and others that are right."""

from .edits import changed

STEP_1 = """def step_1(logp, y):
    n = len(logp)
    d_logp = torch.zeros_like(logp)
    d_logp[torch.arange(n), y] = -1 / n
    return d_logp
"""
STEP_2 = "def step_2(d_logp, p):\n    return d_logp / p\n"
STEP_3 = """def step_3(d_p, exps, total):
    d_inverse = (d_p * exps).sum(dim=1, keepdim=True)
    d_total = -d_inverse / total**2
    return d_inverse, d_total
"""
STEP_4 = "def step_4(d_p, d_total, inverse):\n    return d_p * inverse + d_total\n"
STEP_5 = """def step_5(d_exps, exps):
    d_shifted = d_exps * exps
    d_top = -d_shifted.sum(dim=1, keepdim=True)
    return d_shifted, d_top
"""
STEP_6 = """def step_6(d_logits, h, W2):
    d_h = d_logits @ W2.T
    d_W2 = h.T @ d_logits
    d_b2 = d_logits.sum(dim=0)
    return d_h, d_W2, d_b2
"""
STEP_7 = "def step_7(d_h, pre):\n    return d_h * (pre > 0)\n"
STEP_8 = """def step_8(d_pre, xhat, gamma):
    d_xhat = d_pre * gamma
    d_gamma = (d_pre * xhat).sum(dim=0)
    d_beta = d_pre.sum(dim=0)
    return d_xhat, d_gamma, d_beta
"""
STEP_9 = """def step_9(d_xhat, centred, invstd):
    d_invstd = (d_xhat * centred).sum(dim=0, keepdim=True)
    d_var = -0.5 * invstd**3 * d_invstd
    return d_invstd, d_var
"""
STEP_10 = """def step_10(d_xhat, d_var, centred, invstd):
    d_squares = d_var.expand_as(centred) / len(centred)
    d_centred = d_xhat * invstd + 2 * centred * d_squares
    return d_squares, d_centred
"""
STEP_11 = """def step_11(d_centred):
    d_mean = -d_centred.sum(dim=0, keepdim=True)
    d_z = d_centred + d_mean / len(d_centred)
    return d_mean, d_z
"""
STEP_12 = """def step_12(d_emb, x, n_symbols):
    n_embd = d_emb.shape[-1]
    d_C = torch.zeros(n_symbols, n_embd, dtype=d_emb.dtype)
    d_C.index_add_(0, x.view(-1), d_emb.reshape(-1, n_embd))
    return d_C
"""
SHORT = """def batch_norm_back(d_pre, xhat, gamma, invstd):
    inner = d_pre - d_pre.mean(dim=0) - xhat * (d_pre * xhat).mean(dim=0)
    return gamma * invstd * inner
"""
LOST_ROWS = changed(STEP_12, "d_C.index_add_(0, x.view(-1), d_emb.reshape(-1, n_embd))", "d_C[x] += d_emb")
UNBROADCAST = """def unbroadcast(d_out, shape):
    while d_out.ndim > len(shape):
        d_out = d_out.sum(dim=0)
    for axis, size in enumerate(shape):
        if size == 1:
            d_out = d_out.sum(dim=axis, keepdim=True)
    return d_out
"""
BLOCK = """def block_backward(d_y, x, W1, b1, W2, mask):
    z = x @ W1 + b1
    h = z.clamp(min=0) * mask
    d_W2 = h.T @ d_y
    d_z = (d_y @ W2.T) * mask * (z > 0)
    d_x = d_y + d_z @ W1.T
    return d_x, x.T @ d_z, d_z.sum(dim=0), d_W2
"""
LAYER_NORM = """def layer_norm_backward(d_y, x, gamma, eps=1e-5):
    centred = x - x.mean(dim=-1, keepdim=True)
    r = ((centred**2).mean(dim=-1, keepdim=True) + eps) ** -0.5
    xhat = centred * r
    d = gamma * d_y
    d_x = r * (d - d.mean(-1, keepdim=True) - xhat * (d * xhat).mean(-1, keepdim=True))
    width = x.shape[-1]
    d_gamma = (d_y * xhat).reshape(-1, width).sum(dim=0)
    d_beta = d_y.reshape(-1, width).sum(dim=0)
    return d_x, d_gamma, d_beta
"""
ATTENTION = """def attention_backward(d_y, q, k, v):
    scale = q.shape[-1] ** -0.5
    later = torch.ones(len(q), len(q), dtype=torch.bool).triu(1)
    P = torch.softmax((q @ k.T * scale).masked_fill(later, -math.inf), dim=1)
    d_v = P.T @ d_y
    d_P = d_y @ v.T
    d_S = P * (d_P - (d_P * P).sum(dim=1, keepdim=True)) * scale
    return d_S @ k, d_S.T @ q, d_v
"""
CONVOLUTION = """def causal_conv_backward(d_y, x, W, dilation):
    T, K = x.shape[2], W.shape[2]
    d_x, d_W = torch.zeros_like(x), torch.zeros_like(W)
    for k in range(K):
        s = min(dilation * (K - 1 - k), T)
        late, early = d_y[:, :, s:], x[:, :, : T - s]
        d_x[:, :, : T - s] += W[:, :, k].T @ late
        d_W[:, :, k] = (late @ early.transpose(1, 2)).sum(dim=0)
    return d_x, d_W
"""
ROUGH = """feedback = torch.randn(200, 27, generator=torch.Generator().manual_seed(7)) * 0.007


def rough_backward(P, x, y, kept):
    slopes = backward({**P, "W2": feedback}, x, y, kept)
    right = backward(P, x, y, kept)
    return slopes | {"W2": right["W2"], "b2": right["b2"]}
"""

# Wrong lines of the walk, and what the check says of each at once. The remarks are tested with the walk, in
# test_walk.py; that they are refused is tested with all others, where the notebook is run.
REMARKS = {
    "# Exercise 1, step 1": [
        (changed(STEP_1, "-1 / n", "-1"), "every number is 32 times the expected one"),
        (changed(STEP_1, "-1 / n", "1 / n"), "the sign of every number is reversed"),
        (changed(STEP_1, "[torch.arange(n), y]", "[:, y]"), "one place in each row is meant"),
        (changed(STEP_1, "torch.zeros_like(logp)", "torch.zeros(logp.shape)"), "computed in float32"),
        (changed(STEP_1, "torch.zeros_like(logp)", "torch.zeros(n)[:, None]"), "IndexError"),
    ],
    "# Exercise 1, step 2": [
        (changed(STEP_2, "d_logp / p", "d_logp"), "the slope of the logarithm is missing"),
        (changed(STEP_2, "d_logp / p", "-d_logp / p"), "the sign of every number is reversed"),
        (changed(STEP_2, "d_logp / p", "1 / p"), "the slope that arrives is missing"),
        (changed(STEP_2, "d_logp / p", "-1 / p"), "the slope that arrives is missing"),
        (changed(STEP_2, "d_logp / p", "d_logp * p"), "the slope of ln p is 1 / p, not p"),
    ],
    "# Exercise 1, step 3": [
        (
            changed(STEP_3, ".sum(dim=1, keepdim=True)", ".sum(dim=1)"),
            "the numbers are right, only the shape is not",
        ),
        (changed(STEP_3, ".sum(", ".mean("), "times the expected one"),
        (
            changed(STEP_3, "-d_inverse / total**2", "d_inverse / total**2"),
            "the sign of every number is reversed",
        ),
        (changed(STEP_3, "-d_inverse / total**2", "d_inverse"), "d_total lacks the slope of 1 / total"),
        (
            changed(STEP_3, "(d_p * exps).sum(dim=1, keepdim=True)", "d_p * exps"),
            "shape (32, 27), expected (32, 1)",
        ),
        (changed(STEP_3, "dim=1", "dim=0"), "shape (1, 27), expected (32, 1)"),
        (changed(STEP_3, "-d_inverse / total**2", "-d_inverse * total**2"), "the power has the wrong sign"),
        (changed(STEP_3, "-d_inverse / total**2", "-d_inverse / total"), "the slope of total**-1"),
        (changed(STEP_3, "d_p * exps", "d_p"), "the slope of one factor is the other factor"),
        (changed(STEP_3, "-d_inverse / total**2", "-(total**-2)"), "lacks the slope that arrives"),
        (
            changed(STEP_3, "return d_inverse, d_total", "return d_inverse"),
            "a single tensor comes back, and 2 are asked",
        ),
    ],
    "# Exercise 1, step 4": [
        (changed(STEP_4, " + d_total", ""), "a summand is missing: the path through the total"),
        (
            "def step_4(d_p, d_total, inverse):\n    return d_total.expand_as(d_p)\n",
            "the path through the product",
        ),
        (changed(STEP_4, "+ d_total", "- d_total"), "slopes of two paths are added"),
        (changed(STEP_4, "+ d_total", "+ d_total / d_p.shape[1]"), "only a mean divides"),
    ],
    "# Exercise 1, step 5": [
        (changed(STEP_5, "d_exps * exps", "d_exps"), "the slope of the exponential is missing"),
        (
            changed(STEP_5, "-d_shifted.sum(dim=1, keepdim=True)", "-d_shifted"),
            "shape (32, 27), expected (32, 1)",
        ),
        (
            changed(STEP_5, "-d_shifted.sum(dim=1, keepdim=True)", "-d_exps.sum(dim=1, keepdim=True)"),
            "the slopes that come through exp",
        ),
        (changed(STEP_5, "-d_shifted.sum", "d_shifted.sum"), "so its slope has a minus"),
        (
            changed(STEP_5, "-d_shifted.sum(dim=1, keepdim=True)", "torch.zeros_like(d_exps[:, :1])"),
            "not for any",
        ),
        (changed(STEP_5, "return d_shifted, d_top", "return d_shifted"), "a single tensor comes back"),
        (changed(STEP_5, "d_exps * exps", "d_exps / exps"), "so multiply by exps"),
    ],
    "# Exercise 1, step 6": [
        (changed(STEP_6, "d_logits @ W2.T", "d_logits @ W2"), "for d_h it has to be transposed"),
        (changed(STEP_6, "h.T @ d_logits", "d_logits.T @ h"), "right after transposing"),
        (
            changed(STEP_6, "d_logits.sum(dim=0)", "d_logits.mean(dim=0)"),
            "every number is 0.03125 times the expected one",
        ),
        (changed(STEP_6, "d_logits.sum(dim=0)", "d_logits"), "shape (32, 27), expected (27,)"),
        (changed(STEP_6, "d_logits.sum(dim=0)", "d_logits.sum(dim=1)"), "length 32, expected 27"),
    ],
    "# Exercise 1, step 7": [
        (changed(STEP_7, "d_h * (pre > 0)", "d_h"), "no gate is shut"),
        (changed(STEP_7, "pre > 0", "d_h > 0"), "the gate looks at pre"),
        (changed(STEP_7, "d_h * (pre > 0)", "d_h * pre"), "the slope of an open gate is 1, not pre"),
        (changed(STEP_7, "d_h * (pre > 0)", "pre > 0"), "these are the gates alone"),
        (
            changed(STEP_7, "d_h * (pre > 0)", "d_h if pre > 0 else 0 * d_h"),
            "a table has no single truth value",
        ),
    ],
    "# Exercise 1, step 8": [
        (changed(STEP_8, "d_pre * gamma", "d_pre"), "d_xhat lacks the factor gamma"),
        (changed(STEP_8, "(d_pre * xhat).sum(dim=0)", "d_pre.sum(dim=0)"), "d_gamma lacks the factor xhat"),
        (changed(STEP_8, "(d_pre * xhat).sum(dim=0)", "d_pre * xhat"), "shape (32, 200), expected (200,)"),
        (
            changed(STEP_8, "    d_beta = d_pre.sum(dim=0)", "    d_beta = d_pre.mean(dim=0)"),
            "0.03125 times the expected",
        ),
    ],
    "# Exercise 1, step 9": [
        (changed(STEP_9, "-0.5 *", "0.5 *"), "the sign of every number is reversed"),
        (changed(STEP_9, "-0.5 *", "-1.0 *"), "every number is 2 times the expected one"),
        (changed(STEP_9, "-0.5 * invstd**3 * d_invstd", "d_invstd"), "d_var lacks the slope of the power"),
        (changed(STEP_9, "invstd**3", "invstd**-1.5"), "invstd is not var"),
        (
            changed(STEP_9, "invstd**3", "(centred**2).mean(dim=0, keepdim=True) ** -1.5"),
            "the tiny 1e-5 under the root is missing",
        ),
        (changed(STEP_9, " * d_invstd", ""), "d_var lacks the slope that arrives"),
        (changed(STEP_9, ", keepdim=True", ""), "the numbers are right, only the shape is not"),
    ],
    "# Exercise 1, step 10": [
        (changed(STEP_10, " + 2 * centred * d_squares", ""), "missing: the path through the variance"),
        (changed(STEP_10, "d_xhat * invstd + 2", "2"), "missing: the path through the product"),
        (changed(STEP_10, " / len(centred)", ""), "every number is 32 times the expected one"),
        (
            changed(STEP_10, " / len(centred)", " / (len(centred) - 1)"),
            "every number is 1.03226 times the expected one",
        ),
        (changed(STEP_10, "2 * centred", "centred"), "the 2 is missing"),
        (changed(STEP_10, "2 * centred * d_squares", "2 * centred * d_var"), "the division by N is missing"),
        (changed(STEP_10, ".expand_as(centred)", ""), "N equal rows"),
    ],
    "# Exercise 1, step 11": [
        (changed(STEP_11, "d_centred + d_mean / len(d_centred)", "d_centred"), "the path through the mean"),
        (changed(STEP_11, "-d_centred", "d_centred"), "the sign of every number is reversed"),
        (changed(STEP_11, " / len(d_centred)", ""), "an N-th of d_mean"),
        (changed(STEP_11, "+ d_mean", "- d_mean"), "d_mean has its minus already"),
    ],
    "# Exercise 1, step 12": [
        (LOST_ROWS, "of all rows that go to one letter a single one has arrived"),
        (
            changed(LOST_ROWS, "+= d_emb", "= d_emb"),
            "of all rows that go to one letter a single one has arrived",
        ),
        (
            changed(STEP_12, "    return d_C", "    return d_C / len(x)"),
            "every number is 0.03125 times the expected one",
        ),
        (
            changed(STEP_12, "d_emb.shape[-1]", "10"),
            "the tiny one has other sizes",
        ),
    ],
    "# Exercise 1, step 13": [
        (changed(SHORT, " - d_pre.mean(dim=0)", ""), "the mean path is missing"),
        (changed(SHORT, " - xhat * (d_pre * xhat).mean(dim=0)", ""), "the variance path is missing"),
        (changed(SHORT, "gamma * invstd * inner", "invstd * inner"), "the factor gamma is missing"),
        (changed(SHORT, "gamma * invstd * inner", "gamma * inner"), "the factor invstd is missing"),
        (SHORT.replace(".mean(", ".sum("), "the bars are means, not sums"),
    ],
}

WRONG = (
    {title: [answer for answer, _ in pairs] for title, pairs in REMARKS.items()}
    | {
        "# Exercise 2": [
            "def unbroadcast(d_out, shape):\n    return d_out.sum(0)",
            "def unbroadcast(d_out, shape):\n    return d_out.sum(0, keepdim=True)",
            "def unbroadcast(d_out, shape):\n    return d_out.sum(tuple(range(d_out.ndim - len(shape))))",  # sum(())
            changed(changed(UNBROADCAST, "sum(dim=0)", "mean(dim=0)"), "sum(dim=axis", "mean(dim=axis"),
            changed(UNBROADCAST, ", keepdim=True", ""),
            changed(
                UNBROADCAST, "    while d_out.ndim > len(shape):\n        d_out = d_out.sum(dim=0)\n", ""
            ),
        ],
        "# Exercise 3": [
            changed(BLOCK, "d_y + d_z @ W1.T", "d_z @ W1.T"),  # the shortcut forgotten
            changed(BLOCK, "(d_y @ W2.T) * mask", "(d_y @ W2.T)"),
            changed(BLOCK, " * (z > 0)", ""),
            changed(BLOCK, "z.clamp(min=0) * mask", "z.clamp(min=0)"),
            changed(BLOCK, "d_z.sum(dim=0)", "d_z"),
        ],
        "# Exercise 4": [
            changed(LAYER_NORM, "d = gamma * d_y", "d = d_y"),
            # gamma outside of the means, where batch normalisation has it
            changed(changed(LAYER_NORM, "d = gamma * d_y", "d = d_y"), "d_x = r *", "d_x = gamma * r *"),
            changed(LAYER_NORM, " - xhat * (d * xhat).mean(-1, keepdim=True)", ""),
            changed(LAYER_NORM, "d_y.reshape(-1, width).sum(dim=0)", "d_y.sum(dim=0)"),
            changed(LAYER_NORM, "(centred**2).mean(dim=-1, keepdim=True)", "x.var(dim=-1, keepdim=True)"),
        ],
        "# Exercise 5": [
            changed(ATTENTION, ".masked_fill(later, -math.inf)", ""),
            changed(ATTENTION, ".sum(dim=1, keepdim=True)) * scale", ".sum(dim=1, keepdim=True))"),
            changed(ATTENTION, "P * (d_P - (d_P * P).sum(dim=1, keepdim=True))", "P * (1 - P) * d_P"),
            changed(ATTENTION, "d_S.T @ q", "d_S @ q"),
            changed(ATTENTION, ".sum(dim=1", ".sum(dim=0"),
        ],
        "# Exercise 6": [
            changed(CONVOLUTION, "min(dilation * (K - 1 - k), T)", "dilation * (K - 1 - k)"),
            changed(CONVOLUTION, " += W", " = W"),
            changed(CONVOLUTION, "dilation * (K - 1 - k)", "(K - 1 - k)"),
            changed(CONVOLUTION, ".sum(dim=0)", ".mean(dim=0)"),
            changed(CONVOLUTION, "(K - 1 - k)", "k"),
        ],
        "# Exercise 7": [
            'diagnosis = dict.fromkeys("VWXYZ", "1/N forgotten")',
            "diagnosis = dict(zip(patients, reversed(patients.values())))",
        ],
        "# Exercise 8": [
            "def rough_backward(P, x, y, kept):\n    return backward(P, x, y, kept)",  # it knows W2
            # the layers below frozen, all or some of them
            "def rough_backward(P, x, y, kept):\n    slopes = backward(P, x, y, kept)\n"
            '    return slopes | {name: 0 * slopes[name] for name in ("W1", "C", "gamma", "beta")}',
            "def rough_backward(P, x, y, kept):\n    slopes = backward(P, x, y, kept)\n"
            '    return slopes | {"W1": 0 * slopes["W1"]}',
            # a tenth of the right slopes; noise over them; some of them
            "def rough_backward(P, x, y, kept):\n    slopes = backward(P, x, y, kept)\n"
            '    return slopes | {"W1": 0.1 * slopes["W1"]}',
            "def rough_backward(P, x, y, kept):\n    slopes = backward(P, x, y, kept)\n"
            "    return {name: g + 3 * g.std() * torch.randn(g.shape) for name, g in slopes.items()}",
            "def rough_backward(P, x, y, kept):\n    slopes = backward(P, x, y, kept)\n"
            "    return {name: g * (torch.rand(g.shape) < 0.05) for name, g in slopes.items()}",
            # noise alone: it knows nothing of W2, nor of the logits
            "def rough_backward(P, x, y, kept):\n    slopes = backward(P, x, y, kept)\n"
            '    return {n: g if n in ("W2", "b2") else 0.01 * torch.randn(g.shape) for n, g in slopes.items()}',
            changed(
                ROUGH,
                "torch.randn(200, 27, generator=torch.Generator().manual_seed(7)) * 0.007",
                "torch.zeros(200, 27)",
            ),
        ],
    }
)

RIGHT = {
    "# Exercise 1, step 1": [
        "def step_1(logp, y):\n    return -F.one_hot(y, logp.shape[1]).to(logp.dtype) / len(y)",
        "def step_1(logp, y):\n    out = 0 * logp\n    for i in range(len(y)):\n        out[i, y[i]] -= 1 / len(y)\n"
        "    return out",
    ],
    "# Exercise 1, step 4": [
        "def step_4(d_p, d_total, inverse):\n    return d_total.expand_as(d_p) + inverse * d_p"
    ],
    "# Exercise 1, step 6": [
        'def step_6(d_logits, h, W2):\n    return d_logits.matmul(W2.t()), torch.einsum("ni,nk->ik", h, d_logits), '
        "d_logits.sum(0)",
    ],
    "# Exercise 1, step 7": [
        "def step_7(d_h, pre):\n    return torch.where(pre > 0, d_h, torch.zeros_like(d_h))"
    ],
    "# Exercise 1, step 10": [
        "def step_10(d_xhat, d_var, centred, invstd):\n    d_squares = d_var.repeat(len(centred), 1) / len(centred)\n"
        "    return d_squares, invstd * d_xhat + d_squares * centred * 2",
    ],
    "# Exercise 1, step 11": [
        "def step_11(d_centred):\n    return -d_centred.sum(0, keepdim=True), d_centred - d_centred.mean(0)",
    ],
    "# Exercise 1, step 12": [
        "def step_12(d_emb, x, n_symbols):\n    out = torch.zeros(n_symbols, d_emb.shape[2], dtype=d_emb.dtype)\n"
        "    for i in range(len(x)):\n        for j in range(x.shape[1]):\n            out[x[i, j]] += d_emb[i, j]\n"
        "    return out",
        "def step_12(d_emb, x, n_symbols):\n    rows = d_emb.reshape(-1, d_emb.shape[-1])\n"
        "    return F.one_hot(x.view(-1), n_symbols).to(d_emb.dtype).T @ rows",
    ],
    "# Exercise 2": [
        "def unbroadcast(d_out, shape):\n"
        "    added = d_out.ndim - len(shape)\n    out = d_out.sum(tuple(range(added))) if added else d_out\n"
        "    copied = tuple(i for i, size in enumerate(shape) if size == 1 and out.shape[i] != 1)\n"
        "    return out.sum(copied, keepdim=True) if copied else out",
    ],
    "# Exercise 5": [
        """def attention_backward(d_y, q, k, v):
    T, C = q.shape
    d_q, d_k, d_v = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for t in range(T):
        p = torch.softmax(k[: t + 1] @ q[t] / C**0.5, dim=0)
        d_p = v[: t + 1] @ d_y[t]
        d_s = p * (d_p - (p * d_p).sum()) / C**0.5
        d_v[: t + 1] += p[:, None] * d_y[t]
        d_q[t] = d_s @ k[: t + 1]
        d_k[: t + 1] += d_s[:, None] * q[t]
    return d_q, d_k, d_v
""",
    ],
    "# Exercise 8": [
        changed(ROUGH, "manual_seed(7)", "manual_seed(3)"),
        changed(ROUGH, "* 0.007", ".sign() * 0.01"),
    ],
}
