"""What a user gets: a wheel with everything in it, and a command that answers at once."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ("py.typed", ".html", ".j2", ".css", ".keras", ".npz", ".json", ".yaml")
HEAVY = (
    "tensorflow",
    "keras",
    "prefect",
    "openvino",
    "rasterio",
    "skimage",
    "geopandas",
    "dask",
    "matplotlib",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    copy = out / "source"
    names = (
        "flows",
        "tasks",
        "segmodels",
        "deployments",
        "benchmarks",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    )
    copy.mkdir()
    for name in names:  # built elsewhere, so that nothing is left in the checkout
        (copy / name).symlink_to(ROOT / name)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "--quiet",
            "-w",
            out,
            copy,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("segflow-*.whl")
    return zipfile.ZipFile(built)


@pytest.mark.slow
def test_wheel_holds_every_module_and_data_file(wheel: zipfile.ZipFile) -> None:
    held = set(wheel.namelist())
    for package in ("flows", "tasks", "segmodels"):
        wanted = {
            file.relative_to(ROOT).as_posix()
            for file in (ROOT / package).rglob("*")
            if file.is_file() and "__pycache__" not in file.parts and file.name.endswith((".py", *DATA))
        }
        assert f"{package}/py.typed" in wanted
        assert wanted <= held, f"not in the wheel: {sorted(wanted - held)}"
    assert not [name for name in held if name.startswith(("tests/", "benchmarks/"))]


@pytest.mark.slow
def test_wheel_names_its_command_and_licence(wheel: zipfile.ZipFile) -> None:
    (entry,) = [name for name in wheel.namelist() if name.endswith("dist-info/entry_points.txt")]
    assert "segflow = flows.cli:main" in wheel.read(entry).decode()
    assert any(name.endswith("LICENSE") for name in wheel.namelist())


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['segflow', '--help']\n"
        "from flows.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print('HEAVY', sorted(set({HEAVY}) & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert "HEAVY []" in done.stdout, done.stdout.splitlines()[-1]


@pytest.mark.parametrize("package", ["segmodels", "tasks", "flows"])
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    program = f"import sys, {package}; print('HEAVY', sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "HEAVY []"


def test_version_is_said_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
