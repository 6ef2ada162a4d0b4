"""Random layers against torch, the test-only peer."""

import numpy as np
import pytest

from filterworks import functional

torch = pytest.importorskip("torch")
T = torch.nn.functional

TOLERANCE = {np.float32: 1e-4, np.float64: 1e-10}
MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def close(ours, theirs, dtype):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    assert ours.dtype == dtype
    scale = np.abs(theirs).max(initial=1e-30)
    assert np.abs(ours - theirs).max(initial=0) <= TOLERANCE[dtype] * scale


class Case:
    """One random layer: arrays and options."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.rng = rng
        self.ndim = int(rng.integers(1, 4))
        self.dtype = [np.float32, np.float64][seed % 2]
        self.batch = [None, 1, 2, 3][rng.integers(4)]
        self.groups = int(rng.choice([1, 1, 2, 3]))
        self.c_in = self.groups * int(rng.integers(1, 4))
        self.c_out = self.groups * int(rng.integers(1, 5))
        if rng.random() < 0.25:
            self.groups, self.c_out = self.c_in, self.c_in * int(rng.integers(1, 4))
        top = {1: 90, 2: 24, 3: 9}[self.ndim]
        self.kernel = tuple(int(k) for k in rng.integers(1, 6 if self.ndim < 3 else 4, self.ndim))
        self.stride = tuple(int(s) for s in rng.integers(1, 4, self.ndim))
        self.dilation = tuple(int(d) for d in rng.integers(1, 4, self.ndim))
        self.pad = tuple(int(p) for p in rng.integers(0, 4, self.ndim))
        spans = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        self.spatial = tuple(
            int(max(rng.integers(4, top), s - 2 * p)) for s, p in zip(spans, self.pad, strict=True)
        )
        self.bias = self.array(self.c_out) if rng.random() < 0.5 else None

    def array(self, *shape):
        return self.rng.standard_normal(shape).astype(self.dtype)

    def signal(self, channels, spatial):
        return self.array(*(() if self.batch is None else (self.batch,)), channels, *spatial)


def tensor(array):
    return None if array is None else torch.from_numpy(np.array(array))


@pytest.mark.parametrize("seed", range(220))
def test_conv(seed):
    case = Case(seed)
    x, weight = (
        case.signal(case.c_in, case.spatial),
        case.array(case.c_out, case.c_in // case.groups, *case.kernel),
    )
    mode = list(MODES)[seed % 4] if seed % 3 == 0 else "zeros"
    kind = case.rng.integers(4)
    padding, stride = case.pad, case.stride
    pairs = [(p, p) for p in case.pad]
    if kind == 0:
        padding = pairs = [(p, int(case.rng.integers(p, 4))) for p in case.pad]
    elif kind == 1:
        padding, stride = "same", 1
        totals = [d * (k - 1) for d, k in zip(case.dilation, case.kernel, strict=True)]
        pairs = [(t // 2, t - t // 2) for t in totals]
    if mode != "zeros" and any(max(p) >= i for p, i in zip(pairs, case.spatial, strict=True)):
        mode = "replicate"
    flip = seed % 5 == 0
    ours = getattr(functional, f"conv{case.ndim}d")(
        x, weight, case.bias, stride, padding, case.dilation, case.groups, padding_mode=mode, flip=flip
    )
    padded = T.pad(tensor(x), [p for pair in reversed(pairs) for p in pair], mode=MODES[mode])
    turned = np.flip(weight, tuple(range(2, weight.ndim))) if flip else weight
    theirs = getattr(T, f"conv{case.ndim}d")(
        padded, tensor(turned), tensor(case.bias), stride, 0, case.dilation, case.groups
    )
    close(ours, theirs, case.dtype)


@pytest.mark.parametrize("seed", range(1000, 1130))
def test_conv_transpose(seed):
    case = Case(seed)
    weight = case.array(case.c_in, case.c_out // case.groups, *case.kernel)
    extra = tuple(int(case.rng.integers(max(s, d))) for s, d in zip(case.stride, case.dilation, strict=True))
    spatial = tuple(
        max(i // s, 1 + 2 * p) for i, s, p in zip(case.spatial, case.stride, case.pad, strict=True)
    )
    x = case.signal(case.c_in, spatial)
    rest = (case.stride, case.pad, extra, case.groups, case.dilation)
    ours = getattr(functional, f"conv_transpose{case.ndim}d")(x, weight, case.bias, *rest)
    theirs = getattr(T, f"conv_transpose{case.ndim}d")(tensor(x), tensor(weight), tensor(case.bias), *rest)
    close(ours, theirs, case.dtype)


@pytest.mark.parametrize("seed", range(2000, 2110))
def test_gradients(seed):
    case = Case(seed)
    case.batch = case.batch or 1
    x, weight = (
        case.signal(case.c_in, case.spatial),
        case.array(case.c_out, case.c_in // case.groups, *case.kernel),
    )
    rest = (case.stride, case.pad, case.dilation, case.groups)
    tx, tw = tensor(x).requires_grad_(), tensor(weight).requires_grad_()
    y = getattr(T, f"conv{case.ndim}d")(tx, tw, None, *rest)
    slope = case.array(*y.shape)
    y.backward(tensor(slope))
    close(getattr(functional, f"conv{case.ndim}d_input")(x.shape, weight, slope, *rest), tx.grad, case.dtype)
    close(getattr(functional, f"conv{case.ndim}d_weight")(x, weight.shape, slope, *rest), tw.grad, case.dtype)


def pool_case(seed):
    case = Case(seed)
    pad = tuple(int(case.rng.integers(k // 2 + 1)) for k in case.kernel)
    spans = [d * (k - 1) + 1 for d, k in zip(case.dilation, case.kernel, strict=True)]
    case.spatial = tuple(max(i, s - 2 * p) for i, s, p in zip(case.spatial, spans, pad, strict=True))
    x = np.round(case.signal(case.c_in, case.spatial) * 4) / 4
    if seed % 4 == 0:
        x.flat[case.rng.integers(x.size)] = np.nan
    if seed % 7 == 0:
        x.flat[case.rng.integers(x.size, size=x.size // 2)] = -np.inf
    return case, x, pad


@pytest.mark.parametrize("seed", range(3000, 3120))
def test_max_pool(seed):
    case, x, pad = pool_case(seed)
    stride = None if seed % 5 == 0 else case.stride
    rest = (case.kernel, stride, pad, case.dilation, bool(seed % 2))
    theirs, places = getattr(T, f"max_pool{case.ndim}d")(tensor(x), *rest, return_indices=True)
    ours = getattr(functional, f"max_pool{case.ndim}d")(x, *rest)
    again, indices = getattr(functional, f"max_pool{case.ndim}d")(x, *rest, return_indices=True)
    np.testing.assert_array_equal(ours, theirs.numpy())
    np.testing.assert_array_equal(again, theirs.numpy())
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(indices, places.numpy())


@pytest.mark.parametrize("seed", range(4000, 4120))
def test_avg_pool(seed):
    case, x, pad = pool_case(seed)
    x = np.nan_to_num(x, neginf=1.5)
    stride = None if seed % 5 == 0 else case.stride
    include = bool(seed % 3)
    rest = (case.kernel, stride, pad, bool(seed % 2), include)
    ours = getattr(functional, f"avg_pool{case.ndim}d")(x, *rest)
    if case.ndim == 1:
        rest = (*(r if not isinstance(r, tuple) else r[0] for r in rest[:1]), *rest[1:])
    close(ours, getattr(T, f"avg_pool{case.ndim}d")(tensor(x), *rest), case.dtype)
    if case.ndim > 1:
        ours = getattr(functional, f"avg_pool{case.ndim}d")(x, *rest, -3)
        close(ours, getattr(T, f"avg_pool{case.ndim}d")(tensor(x), *rest, -3), case.dtype)


LARGE = [
    # x, weight, options: each reaches another path
    ((1, 3, 70, 134), (20, 3, 7, 7), {"stride": 2, "padding": 3}),
    ((2, 1, 100, 100), (16, 1, 9, 9), {"padding": 4}),
    ((1, 64, 40, 40), (64, 64, 3, 3), {"padding": 1}),
    ((1, 96, 9, 9), (160, 96, 5, 5), {"padding": 2}),
    ((3, 16, 30, 30), (32, 16, 1, 1), {}),
    ((1, 16, 31, 30), (32, 16, 1, 1), {"stride": 2}),
    ((1, 12, 60, 70), (12, 1, 3, 5), {"groups": 12, "padding": (1, 2)}),
    ((1, 12, 60, 70), (24, 1, 3, 5), {"groups": 12, "stride": 2, "padding": (0, 2)}),
    ((1, 6, 60, 70), (6, 1, 13, 13), {"groups": 6, "padding": 6}),
    ((1, 6, 60, 70), (6, 1, 3, 3), {"groups": 6, "padding": 4, "dilation": 4}),
    ((1, 300, 9, 9), (300, 1, 3, 3), {"groups": 300, "padding": 1}),
    ((1, 64, 33, 70), (64, 4, 3, 3), {"groups": 16, "padding": 2, "dilation": 2}),
    ((2, 8, 9, 20, 70), (4, 8, 3, 3, 3), {"padding": 1}),
    ((1, 4, 5000), (8, 4, 31), {"padding": 15}),
    ((1, 1, 70000), (1, 1, 9), {"padding": 4}),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "weight_shape", "options"), LARGE)
def test_every_fast_path(shape, weight_shape, options, dtype):
    rng = np.random.default_rng(5)
    x, weight = rng.standard_normal(shape).astype(dtype), rng.standard_normal(weight_shape).astype(dtype)
    bias = rng.standard_normal(len(weight)).astype(dtype)
    name = f"conv{len(shape) - 2}d"
    theirs = getattr(T, name)(tensor(x), tensor(weight), tensor(bias), **options)
    close(getattr(functional, name)(x, weight, bias, **options), theirs, dtype)
    exact = getattr(T, name)(*(tensor(a).double() for a in (x, weight, bias)), **options).numpy()
    limit = {np.float32: 1e-5, np.float64: 1e-12}[dtype]
    bound = limit * np.abs(x).max() * np.abs(weight).sum(tuple(range(1, weight.ndim))).max()
    assert np.abs(getattr(functional, name)(x, weight, bias, **options) - exact).max() <= bound


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_separable_depthwise(dtype):
    rng = np.random.default_rng(6)
    x = rng.standard_normal((1, 3, 50, 60)).astype(dtype)
    column, row = rng.uniform(0.5, 1, (2, 3, 7))
    weight = (column[:, :, None] * row[:, None])[:, None].astype(dtype)
    theirs = T.conv2d(tensor(x), tensor(weight), groups=3, padding=3)
    close(functional.conv2d(x, weight, groups=3, padding=3), theirs, dtype)
