"""The package as a whole: what a wheel holds, what an install pulls, what the documents promise."""

import inspect
import re
import subprocess
import sys
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from click.testing import CliRunner

from umd_engine import errors
from umd_engine.cli import main

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source") / "umd-engine"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if name.startswith("tests/") or not (ROOT / name).is_file():
            continue
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, source]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = out.glob("umd_engine-*.whl")
    return zipfile.ZipFile(path).namelist()


def test_the_wheel_holds_every_module_and_data_file_and_nothing_else(wheel):
    inside = {name for name in wheel if ".dist-info/" not in name}
    assert all(name.startswith("umd_engine/") for name in inside)
    rooms = ("kernels", "data", "engine", "exporters", "models", "evaluation", "bench", "commands")
    wanted = {path for room in rooms for path in ROOT.glob(f"{room}/**/*.py")}
    wanted |= {ROOT / name for name in ("__init__.py", "cli.py", "errors.py", "py.typed")}
    wanted |= set(ROOT.glob("data/label_sets/*.json")) | set(ROOT.glob("evaluation/paper/*.csv"))
    wanted |= set(ROOT.glob("bench/profile/*.jinja"))
    wanted |= {path for path in ROOT.glob("bench/demo/networks/**/*") if path.is_file()}
    assert inside == {f"umd_engine/{path.relative_to(ROOT)}" for path in wanted}


def test_a_plain_install_pulls_neither_onnxruntime():
    base = [need for need in requires("umd-engine") if "extra ==" not in need]
    assert base and not any(need.startswith("onnxruntime") for need in base)
    extras = {extra: need for need in requires("umd-engine") for extra in re.findall(r'extra == "(\w+)"', need)}
    assert {"cpu", "gpu", "tensorrt", "report", "cluster", "dev"} <= extras.keys()


def test_the_tree_of_errors_is_the_tree_in_the_docstring():
    drawn = dict.fromkeys(re.findall(r"(\w+Error)\b", errors.__doc__))
    classes = {
        name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)
    }
    assert set(drawn) == set(classes)
    statuses = [kind.status for kind in classes.values()]
    assert len(set(statuses)) == len(statuses)
    column = {
        name: line.index(name) for line in errors.__doc__.splitlines() for name in classes if f" {name} " in f"{line} "
    }
    for name, kind in classes.items():
        if name != "UmdEngineError":
            assert column[kind.__base__.__name__] < column[name], name


def commands(group, prefix=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*prefix, name))
        else:
            yield (*prefix, name), command


def test_every_command_has_help_and_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    for path, _ in commands(main):
        result = CliRunner().invoke(main, [*path, "--help"])
        assert result.exit_code == 0 and len(result.output.splitlines()) > 5
        assert f"`{' '.join(path)}`" in readme, path


def test_links_in_the_documents_lead_somewhere():
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_an_unknown_command_or_option_exits_with_2():
    assert CliRunner().invoke(main, ["evaluat"]).exit_code == 2
    assert CliRunner().invoke(main, ["evaluate", "--modle", "x"]).exit_code == 2
