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
export PYTHONPATH="build/gpu${PYTHONPATH:+:$PYTHONPATH}"
"$PYTHON" -m pytest -m gpu tests/kernels tests/gpu tests/engine "$@"
# The kernels in CUDA C once more under the memory checker, without torch's cache: an access beyond a tensor is one
# beyond its allocation. SANITIZE=0 leaves it out.
if [ "${SANITIZE:-1}" != 0 ] && command -v compute-sanitizer >/dev/null; then
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --error-exitcode 1 "$PYTHON" -m pytest -q -m "gpu and not full" \
        tests/kernels -k "components-gpu or clicks-gpu or distance-gpu or surface-gpu"
fi
