"""The package as it is built and installed."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import dagster_s3inc

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    """The wheel has every module of the package, the type marker, the licence, and no more."""
    [wheel] = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "dagster_s3inc"
    modules = {path.relative_to(ROOT).as_posix() for path in package.rglob("*.py")}
    code = {name for name in names if ".dist-info/" not in name}
    assert code == modules | {"dagster_s3inc/py.typed"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_sdist_can_be_tested(built: Path) -> None:
    """The sdist has what its tests need."""
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "workspace.yaml", "tests/conftest.py"} <= names
    assert not any(name.startswith((".state", ".venv")) for name in names)


def test_wheel_works_in_a_fresh_environment(built: Path, tmp_path: Path) -> None:
    """The wheel installs into a fresh environment, imports there from nowhere else, and runs.

    What it depends on is taken from this environment, so that nothing is fetched again.
    """
    [wheel] = built.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv/bin/python"
    [site] = (tmp_path / "venv").glob("lib/python*/site-packages")
    here = [path for path in sys.path if path.endswith("site-packages")]
    (site / "depends.pth").write_text("\n".join(here))
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    install = [*pip, "install", "--no-deps", "--no-index", "--force-reinstall", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    script = (
        "import dagster_s3inc as d; [getattr(d, name) for name in d.__all__]; "
        "print(d.__file__, d.__version__)"
    )
    # Isolated: PYTHONPATH may name a checkout.
    ran = subprocess.run(
        [str(python), "-I", "-c", script], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert ran.stdout.split()[0].startswith(str(site))
    command = [str(tmp_path / "venv/bin/dagster-s3inc"), "--version"]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert ran.stdout == f"dagster-s3inc, version {dagster_s3inc.__version__}\n"


def test_every_name_is_found() -> None:
    """Each name that the package exports is imported when it is asked for, and no other is."""
    assert {*dagster_s3inc._MODULES, "__version__"} == set(dagster_s3inc.__all__)
    assert all(hasattr(dagster_s3inc, name) for name in dagster_s3inc.__all__)
    assert not hasattr(dagster_s3inc, "nothing")


def test_processor_loads_no_dagster() -> None:
    """A program that uses the processor alone does not load Dagster."""
    script = (
        "from dagster_s3inc import BatchPolicy, ObjectFilter, S3IncrementalProcessor; "
        "import sys; sys.exit('dagster' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
