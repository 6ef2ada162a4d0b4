import numpy as np
import pytest

import filterworks as fw
from filterworks.chains import Step
from filterworks.operations import COMMON, OPERATIONS
from filterworks.verification import _EXAMPLES, REFERENCES


def test_every_filter_is_an_operation_with_a_reference_and_an_example():
    assert set(OPERATIONS) == set(fw.filters.__all__) == set(REFERENCES) == set(_EXAMPLES)
    for name, operation in OPERATIONS.items():
        assert operation.summary.endswith(".") or operation.summary.endswith("`).")
        assert not set(operation.parameters) & set(COMMON), name


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_reach_is_where_the_result_stops_depending(name):
    for parameters in _EXAMPLES[name]:
        if name == "canny":
            assert OPERATIONS[name].reach(parameters, 2) == (np.inf, np.inf)
            continue
        one = Step(name, (*parameters.items(), ("boundary", "constant")))
        rows, columns = fw.Chain((one,)).reach
        assert all(isinstance(size, int) for size in (rows, columns))
        rng = np.random.default_rng(0)
        x = rng.normal(size=(4 * rows + 9, 4 * columns + 9)) * 50
        centre = 2 * rows + 4, 2 * columns + 4
        changed = x.copy()
        changed[centre] += 1000
        touched = np.argwhere(np.abs(one(x) - one(changed)) > 1e-7)
        distance = np.abs(touched - centre).max(axis=0)
        assert (distance <= (rows, columns)).all()
        if name not in ("median", "bilateral"):
            assert distance.max() >= max(rows, columns) - 1
