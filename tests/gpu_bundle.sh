#!/bin/sh
# Pure wheels of what a bare CUDA machine (torch, triton, cupy, numpy, scipy) lacks, in gpu-bundle/.
# Usage: gpu_bundle.sh PYTHON
set -eu
cd "$(dirname "$0")/.."
rm -rf gpu-bundle
"$1" -m pip wheel --quiet --disable-pip-version-check --no-deps -c constraints.txt -w gpu-bundle \
    dynamic-network-architectures monai einops nibabel importlib-resources \
    pytest iniconfig pluggy packaging pygments
for wheel in gpu-bundle/*.whl; do
    case $wheel in
        *-none-any.whl) ;;
        *) echo "$wheel is not a pure wheel: it may not run on another machine" >&2; exit 1 ;;
    esac
done
size=$(du -sm gpu-bundle | cut -f1)
[ "$size" -lt 64 ] || { echo "gpu-bundle has $size MiB; 64 at most" >&2; exit 1; }
echo "gpu-bundle: $(ls gpu-bundle | wc -l) wheels, $size MiB"
