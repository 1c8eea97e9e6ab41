"""Every operation x case x implementation against the reference; every wrong kernel rejected."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tester import Implementation, MismatchError, Operation, operations

OPERATIONS = operations().values()
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def _rows() -> list[Any]:
    rows = []
    for operation in OPERATIONS:
        for name, implementation in operation.implementations.items():
            marks = [pytest.mark.gpu, needs_cuda] if name.startswith("gpu") else []
            for case in operation.cases:
                label = f"{operation.name}-{name}-{case.name}"
                rows.append(pytest.param(operation, name, implementation, case, id=label, marks=marks))
    return rows


@pytest.mark.parametrize(("operation", "name", "implementation", "case"), _rows())
def test_equals_the_reference(operation: Operation, name: str, implementation: Implementation, case: Any) -> None:
    if name.startswith("cpu"):
        pytest.importorskip("numba")
    operation.check(case, implementation)


WRONG = [
    pytest.param(operation, wrong, id=f"{operation.name}-{wrong.__name__}")
    for operation in OPERATIONS
    for wrong in operation.wrong
]


@pytest.mark.parametrize(("operation", "wrong"), WRONG)
def test_rejects_wrong_kernels(operation: Operation, wrong: Implementation) -> None:
    with pytest.raises(MismatchError):
        operation.check_all(wrong)


def test_every_operation_has_wrong_kernels() -> None:
    assert [operation.name for operation in OPERATIONS if not operation.wrong] == []
