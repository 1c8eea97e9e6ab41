#!/bin/sh
# The kernels' tests and every model's parity on a CUDA device, with the machine's own torch, triton and cupy.
# Wheels in gpu-bundle/ (make gpu-bundle) are unpacked beside them, never installed.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
if [ -x .venv/bin/python ] && [ "$PYTHON" = python3 ]; then PYTHON=.venv/bin/python; fi
"$PYTHON" -c "import sys, torch; sys.exit(not torch.cuda.is_available() and f'torch {torch.__version__} sees no CUDA device: the GPU tests cannot run here')"
mkdir -p build/gpu
ln -sfn ../.. build/gpu/umd_engine
if ls gpu-bundle/*.whl >/dev/null 2>&1; then
    "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target build/gpu gpu-bundle/*.whl
fi
PYTHONPATH=build/gpu${PYTHONPATH:+:$PYTHONPATH} "$PYTHON" -m pytest -m gpu tests/kernels tests/gpu "$@"
