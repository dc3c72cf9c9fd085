"""
Every merge method in float64 numpy, from its formula and not from this
project's code: vectors are handled as vectors, selections by sorting.

Each takes x, the inputs as float64 arrays of one shape in the recipe's order,
base, the index of the base among them or None, and p, its parameters: a list
with one value for each input for those of models, else a single value. What
depends on the sign or order of nearly equal numbers (consensus, cuts) is
decided on float32 values in float32's order of summation, as specified.
"""
import numpy as np


class Random(Exception):
    """The result is not determined by the formula."""


def f32(x):
    return np.asarray(x, "f4")


def others(x, base):
    return [i for i in range(len(x)) if i != base]


def unit(x, least=0.0):
    length = np.sqrt((x * x).sum())
    return x / max(length, least) if max(length, least) > 0 else x


def linear(x, base, p):
    total = sum(w * v for w, v in zip(p["weight"], x))
    return total / sum(p["weight"]) if p["normalize"] else total


def passthrough(x, base, p):
    return x[0] * p["scale"][0]


def slerp(x, base, p):
    a, b, t = x[base], x[1 - base], p["t"]
    lengths = [np.sqrt((v * v).sum()) for v in (a, b)]
    u, v = (w / n if n > 1e-8 else w for w, n in zip((a, b), lengths))
    cosine = (u * v).sum()
    if abs(cosine) > 0.9995:
        return (1 - t) * a + t * b
    angle = np.arccos(cosine)
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


def turn(v, w, t):
    """From v towards w by the share t of the angle between them."""
    u, z = unit(v, 1e-7), unit(w, 1e-7)
    # Half angles keep their digits where the cosine has lost them.
    near, far = np.sqrt(((u + z) ** 2).sum()), np.sqrt(((u - z) ** 2).sum())
    angle = 2 * np.arctan2(far, near)
    if abs((u * u).sum() - 1) > 1e-6 or abs((z * z).sum() - 1) > 1e-6:
        angle = np.arccos(np.clip((u * z).sum(), -1, 1))
    if abs(np.sin(angle)) < 1e-6:
        return (1 - t) * v + t * w
    return (np.sin((1 - t) * angle) * v + np.sin(t * angle) * w) / np.sin(angle)


def nuslerp(x, base, p):
    i, j = others(x, base)
    first, second = p["weight"][i], p["weight"][j]
    t = 0.5 if abs(first + second) < 1e-6 else second / (first + second)
    origin = x[base] if base is not None else 0.0
    # Nearly opposite changes: their rounding to float32 is magnified.
    v, w = (f32(x[k] - origin).astype("f8") for k in (i, j))
    if p["nuslerp_flatten"]:
        return origin + turn(v, w, t)
    if p["nuslerp_row_wise"]:
        v, w = v.reshape(v.shape[0], -1).T, w.reshape(w.shape[0], -1).T
        turned = np.array([turn(a, b, t) for a, b in zip(v, w)]).T
    else:
        rows = v.reshape(-1, v.shape[-1]), w.reshape(-1, v.shape[-1])
        turned = np.array([turn(a, b, t) for a, b in zip(*rows)])
    return origin + turned.reshape(x[i].shape)


def multislerp(x, base, p):
    found = others(x, base)
    if len(found) == 1:
        return x[found[0]]
    origin = x[base] if base is not None else 0.0
    vectors = [x[i] - origin for i in found]
    weights = np.array([p["weight"][i] for i in found])
    if p["normalize_weights"]:
        weights = weights / weights.sum()
    lengths = [np.sqrt((v * v).sum()) for v in vectors]
    mean = sum(w * v / (n + p["eps"]) for w, v, n in zip(weights, vectors, lengths))
    size = np.sqrt((mean * mean).sum())
    if size < p["eps"]:
        return origin + sum(w * v for w, v in zip(weights, vectors))
    return origin + mean / size * (weights * lengths).sum()


def karcher(x, base, p):
    tol = p["tol"]
    lengths = [np.sqrt((v * v).sum()) for v in x]
    units = [v / n for v, n in zip(x, lengths) if n > tol]
    if not units:
        return np.zeros_like(x[0])
    share = 1 / len(units)
    mean = share * sum(units)
    size = np.sqrt((mean * mean).sum())
    mean = units[0] if size < tol else mean / size
    for _ in range(int(p["max_iter"])):
        step = np.zeros_like(mean)
        for u in units:
            cosine = np.clip((mean * u).sum(), -1, 1)
            angle = np.arccos(cosine)
            if not (angle < tol or np.sin(angle) <= 1e-9):
                step += share * angle / np.sin(angle) * (u - cosine * mean)
        far = np.sqrt((step * step).sum())
        if far < tol:
            break
        mean = np.cos(far) * mean + np.sin(far) * step / far
        size = np.sqrt((mean * mean).sum())
        mean = mean / size if size > tol else mean
    return np.mean(lengths) * mean


def model_stock(x, base, p):
    """Fewer than three inputs, or no base: the plain mean."""
    if base is None or len(x) < 3:
        return sum(x) / len(x)
    found = others(x, base)
    n = len(found)
    flat = x[base].size if not p["filter_wise"] or x[base].ndim < 2 else x[base].shape[-1]
    deltas = [(x[i] - x[base]).reshape(-1, flat) for i in found]
    lengths = [np.sqrt((d * d).sum(1)) for d in deltas]
    cosines = [np.clip((deltas[i] * deltas[j]).sum(1) / np.maximum(lengths[i] * lengths[j], 1e-6), -1, 1)
               for i in range(n) for j in range(i + 1, n)]
    c = sum(cosines) / len(cosines)
    rest = 1 + (n - 1) * c
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(np.abs(rest) < 1e-6, 0, n * c / rest)[:, None]
    mean = sum(x[i] for i in found).reshape(-1, flat) / n
    return (t * mean + (1 - t) * x[base].reshape(-1, flat)).reshape(x[base].shape)


# Task vectors.

def sum_in_order(terms):
    total = np.zeros(terms[0].shape, "f4")
    for term in terms:
        total = total + term
    return total


def magnitudes(delta):
    """As integers in the same order; NaN is the largest."""
    bits = np.abs(f32(delta)).ravel().view("u4").astype("i8")
    return np.where(np.isnan(f32(delta)).ravel(), 0x7FC00000, bits)


def prune_magnitude(delta, p, i):
    """The k largest; of equal ones those with the lowest index."""
    order = np.argsort(-magnitudes(delta), kind="stable")
    keep = np.zeros(delta.size, bool)
    k = int(p["density"][i] * delta.size)
    keep[order[:max(k, 1) if p["density"][i] > 0 else 0]] = True
    return keep.reshape(delta.shape)


def prune_outliers(delta, p, i):
    """The k largest below the top; equal ones rise with their index."""
    n = delta.size
    k, top = int(p["density"][i] * n), int(p["gamma"][i] * n)
    low = max(0, n - k - top)
    order = np.argsort(magnitudes(delta), kind="stable")
    keep = np.zeros(n, bool)
    keep[order[low:low + k]] = True
    return keep.reshape(delta.shape)


def prune_chance(delta, p, i):
    if p["density"][i] > 0:
        raise Random
    return np.zeros(delta.shape, bool)


def task(prune, vote):
    def merge(x, base, p):
        weights, exact, single = [], [], []
        for i in others(x, base):
            weight, delta = p["weight"][i], x[i] - x[base]
            keep, scale = np.ones(delta.shape, bool), 1.0
            if prune and p["density"][i] < 1:
                keep = prune(delta, p, i)
                before, after = np.abs(delta).sum(), np.abs(delta * keep).sum()
                if p["rescale"] and not (before < 1e-7 or after < 1e-7):
                    scale = before / after
            weights.append(weight)
            exact.append(delta * keep * scale * weight)
            single.append((f32(x[i]) - f32(x[base])) * keep * f32(scale) * f32(weight))
        if not weights:
            return x[base]
        if vote:
            majority = np.where(sum_in_order(single) >= 0, 1, -1)
            keep = [np.sign(s) == majority for s in single]
            mix = sum(t * k for t, k in zip(exact, keep))
            divisor = sum(w * k for w, k in zip(weights, keep))
            divisor = np.where(divisor == 0, 1, divisor)
        else:
            mix, divisor = sum(exact), sum(weights)
            divisor = 1 if abs(divisor) < 1e-8 else divisor
        return x[base] + p["lambda"] * (mix / divisor if p["normalize"] else mix)

    return merge


def sce(x, base, p):
    found = others(x, base)
    if not found or p["select_topk"] <= 0:
        return x[base]
    single = [f32(x[i]) - f32(x[base]) for i in found]
    if p["select_topk"] < 1:
        wide = np.array([s.astype("f8") for s in single])
        variance = f32(((wide - wide.mean(0)) ** 2).mean(0)).ravel()
        k = int(np.count_nonzero(variance) * p["select_topk"])
        mask = np.zeros(variance.size, bool)
        mask[np.argsort(-magnitudes(variance), kind="stable")[:k]] = True
        single = [s * mask.reshape(s.shape) for s in single]
    deltas = [np.where(s != 0, x[i] - x[base], 0) for s, i in zip(single, found)]
    omega = np.array([(d * d).mean() for d in deltas])
    omega = np.full(len(found), 1 / len(found)) if omega.sum() < 1e-6 else omega / omega.sum()
    majority = np.where(sum_in_order(single) >= 0, 1, -1)
    keep = [np.sign(s) == majority for s in single]
    total = sum(o * d * k for o, d, k in zip(omega, deltas, keep))
    return x[base] + total / np.maximum(sum(o * k for o, k in zip(omega, keep)), 1e-6)


def nearswap(x, base, p):
    a, b = x[base], x[1 - base]
    w = np.clip(p["t"] / np.maximum(np.abs(a - b), 1e-6), 0, 1)
    return w * b + (1 - w) * a


def ram(x, base, p, factor=None):
    found = others(x, base)
    single = [f32(x[i]) - f32(x[base]) for i in found]
    larger = [~(np.abs(s) <= f32(p["epsilon"])) for s in single]
    count = sum(a.astype("i4") for a in larger) if found else 0
    out = x[base].copy()
    for i, a in zip(found, larger):
        own = factor(a, count) if factor else 1.0
        out += np.where(a, (x[i] - x[base]) * np.where(count == 1, own, 1 / np.maximum(count, 1)), 0)
    return out


def ramplus_tl(x, base, p):
    def factor(larger, count):
        unique, shared = np.sum(larger & (count == 1)), np.sum(larger & (count > 1))
        return 1 + p["r"] * min(max(shared / max(unique, p["epsilon"]), 0), p["alpha"])

    return ram(x, base, p, factor)


def softmax(x):
    raised = np.exp(x - x.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True) + 1e-8


def arcee_fusion(x, base, p):
    """NaN where the importance is so near the limit that either is right."""
    a, b = x[base], x[1 - base]
    change, own, other = b - a, softmax(b), softmax(a)
    weight = np.abs(change) * (own * np.log(own / other)).sum(-1, keepdims=True)
    order = np.sort(weight.ravel())
    first, median, third = (order[int(share * (weight.size - 1))] for share in (0.25, 0.5, 0.75))
    limit = median + 1.5 * (third - first)
    noise = 2e-6 * limit + 1e-13 * np.abs(change).max()
    close = (np.abs(weight - limit) < noise) & (limit != 0) & (change != 0)
    return np.where(close, np.nan, a + change * (weight >= limit))


METHODS = {
    "linear": linear,
    "passthrough": passthrough,
    "slerp": slerp,
    "nuslerp": nuslerp,
    "multislerp": multislerp,
    "karcher": karcher,
    "model_stock": model_stock,
    "task_arithmetic": task(None, False),
    "ties": task(prune_magnitude, True),
    "breadcrumbs": task(prune_outliers, False),
    "breadcrumbs_ties": task(prune_outliers, True),
    "dare_linear": task(prune_chance, False),
    "dare_ties": task(prune_chance, True),
    "della_linear": task(prune_chance, False),
    "della": task(prune_chance, True),
    "sce": sce,
    "nearswap": nearswap,
    "ram": ram,
    "ramplus_tl": ramplus_tl,
    "arcee_fusion": arcee_fusion,
}

# Parameters: their value where none is given, None where one must be, and
# whether each model has its own. "flag" marks those that are true or false.
WEIGHT = {"weight": (None, "model")}
TASK = dict(WEIGHT, **{"lambda": (1.0, "shared"), "density": (1.0, "model")})


def of_task(normalize, rescale, **more):
    return dict(TASK, normalize=(normalize, "flag"), rescale=(rescale, "flag"), **more)


PARAMETERS = {
    "linear": dict(WEIGHT, normalize=(1.0, "flag")),
    "passthrough": {"scale": (1.0, "model")},
    "slerp": {"t": (None, "shared")},
    "nuslerp": dict(WEIGHT, nuslerp_flatten=(1.0, "flag"), nuslerp_row_wise=(0.0, "flag")),
    "multislerp": dict(WEIGHT, normalize_weights=(1.0, "flag"), eps=(1e-8, "shared")),
    "karcher": {"max_iter": (10.0, "shared"), "tol": (1e-5, "shared")},
    "model_stock": {"filter_wise": (0.0, "flag")},
    "task_arithmetic": of_task(0.0, 0.0),
    "ties": of_task(1.0, 0.0),
    "breadcrumbs": of_task(0.0, 0.0, gamma=(0.01, "model")),
    "breadcrumbs_ties": of_task(0.0, 0.0, gamma=(0.01, "model")),
    "dare_linear": of_task(0.0, 1.0),
    "dare_ties": of_task(0.0, 1.0),
    "della_linear": of_task(0.0, 1.0, epsilon=(0.15, "model")),
    "della": of_task(1.0, 1.0, epsilon=(0.15, "model")),
    "sce": {"select_topk": (1.0, "shared")},
    "nearswap": {"t": (None, "shared")},
    "ram": {"epsilon": (1e-5, "shared")},
    "ramplus_tl": {"r": (0.1, "shared"), "alpha": (0.2, "shared"), "epsilon": (1e-5, "shared")},
    "arcee_fusion": {},
}

# Fewest inputs (besides a base that is only a point of reference), for which
# there is something to merge; fewer are carried over.
LEAST = {"slerp": 2, "nuslerp": 2, "nearswap": 2, "arcee_fusion": 2}
BASE_IS_ORDINARY = {"linear", "passthrough", "karcher"}
BASE_IS_OPTIONAL = {"nuslerp", "multislerp"}
BASE_IS_NEEDED = set(METHODS) - BASE_IS_ORDINARY - BASE_IS_OPTIONAL - {"model_stock"}
