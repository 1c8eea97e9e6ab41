"""Packaging: the repository root is the import package `umd_engine`."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
ROOMS = ("kernels", "data", "engine", "exporters", "models", "evaluation", "bench", "commands")


class BuildWithoutSetup(build_py):
    """Leave this file out of the wheel: it lies in the package's folder, but it is not of the package."""

    def find_package_modules(self, package, package_dir):
        modules = super().find_package_modules(package, package_dir)
        return [m for m in modules if m[1] != "setup"]


def packages() -> list[str]:
    names = ["umd_engine"]
    for room in ROOMS:
        names.append(f"umd_engine.{room}")
        names += [f"umd_engine.{room}.{name}" for name in find_packages(str(ROOT / room))]
    return names


CPU = ["onnxruntime>=1.24"]
OPENVINO = ["openvino>=2026.1"]
GPU = ["nvidia-ml-py>=13", "onnxruntime-gpu>=1.24", "triton>=3.6", "cupy-cuda13x>=14.0"]
TENSORRT_RTX = ["tensorrt-rtx-cu13==1.7.1.116"]
CLUSTER = ["ray>=2.50", "s3fs>=2025.3"]  # s3fs brings what fsspec needs for HTTP
# a server that speaks S3; moto's own extra for one brings far more
TEST_CLUSTER = [*CLUSTER, "moto[s3]>=5.1", "flask>=3.0", "flask-cors>=5.0"]
# python-gdcm decodes the compressed transfer syntaxes that pydicom leaves to others
DICOM = ["pydicom>=3.0", "python-gdcm>=3.0.24"]
REPORT = ["jinja2>=3.1", "plotly>=6.0", "matplotlib>=3.9"]
# Drives Chromium for `make test-browser`; the browser itself comes from the system or `playwright install chromium`.
BROWSER = ["playwright>=1.50"]
# What the kernels are compared with in tests and benches.
PEERS = [
    "connected-components-3d>=4.1",
    "edt>=3.1",
    "scikit-image>=0.26",
    "SimpleITK>=2.5",
    "surface-distance>=0.1",
]
DEV = [
    *CPU,
    *OPENVINO,
    *PEERS,
    *DICOM,
    "triton>=3.7.1",
    "cupy-cuda13x>=14.0",
    "nvidia-cuda-nvrtc>=13.0",
    "pytest>=9.0",
    "pytest-xdist>=3.8",
    "hypothesis>=6.170",
    "ruff>=0.17",
    "mypy>=2.4",
    "import-linter>=2.16",
    # builds engines for a named GPU without one; its wheels are of this platform alone
    *(f"{need}; sys_platform == 'linux' and platform_machine == 'x86_64'" for need in TENSORRT_RTX),
]

setup(
    name="umd-engine",
    version="0.1.0",
    description="Re-evaluates 3D medical segmentation foundation models at the speed of the hardware",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=packages(),
    package_dir={"umd_engine": "."},
    package_data={
        "umd_engine": ["py.typed"],
        "umd_engine.data": ["label_sets/*.json"],
        "umd_engine.bench.profile": ["*.jinja"],
        "umd_engine.evaluation.paper": ["*.csv"],
        "umd_engine.bench.demo": ["networks/*/*/*.json", "networks/*/*/fold_all/checkpoint_final.pth"],
    },
    cmdclass={"build_py": BuildWithoutSetup},
    entry_points={"console_scripts": ["umd-engine = umd_engine.cli:main"]},
    install_requires=[
        "torch>=2.10",
        "numpy>=2.0",
        "nibabel>=5.3",
        "isal>=1.8",
        "fsspec>=2025.3",
        "click>=8.1",
        "rich>=14.0",
        "pydantic>=2.11",
        "pyarrow>=20.0",
        "numba>=0.62",
        "scipy>=1.15",
        "onnx>=1.19",
        "onnxscript>=0.5",
        "dynamic-network-architectures>=0.3.1,<0.4",
        "monai>=1.6",
        "einops>=0.8",
        "transformers>=5.0",
        "huggingface-hub>=1.0",
        "pyyaml>=6.0",
    ],
    extras_require={
        "cpu": CPU,
        "gpu": GPU,
        "tensorrt": ["tensorrt>=10.13"],
        "tensorrt-rtx": TENSORRT_RTX,
        "openvino": OPENVINO,
        "dicom": DICOM,
        "report": REPORT,
        "browser": BROWSER,
        "cluster": CLUSTER,
        "test-cluster": TEST_CLUSTER,
        "peers": PEERS,
        "dev": DEV,
    },
)
