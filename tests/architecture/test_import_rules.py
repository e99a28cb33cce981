import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIXED = {"pipeline", "blender_scripts", "rodin_models", "cluster", "tests", "benchmarks", "docs"}


@pytest.mark.slow  # make check looks first
def test_import_contracts_hold():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_top_level_folders_are_the_fixed_ones():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = {line.split("/")[0] for line in listed.splitlines() if "/" in line}
    assert {name for name in folders if not name.startswith(".")} <= FIXED


def imported_after(modules, environment_code=""):
    told = "print('\\n'.join(sorted({m.split('.')[0] for m in sys.modules})))"
    code = f"{environment_code}\nimport sys, {modules}\n{told}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.seconds
def test_fitting_needs_torch_numpy_einops_jaxtyping_only():
    forbid = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {'ray', 'pydantic', 'zarr', 'webdataset', 'diffusers', 'transformers', 'PIL',
                                  'torchmetrics', 'safetensors', 'pipeline', 'cluster', 'scipy', 'tensorstore'}:
            raise ImportError(name + ' is not there')
sys.meta_path.insert(0, Refuse())
"""
    modules = (
        "fit.plane_fit",
        "fit.joint_fit",
        "field.render",
        "field.triplane",
        "diffusion.conv3d_aware",
        "diffusion.unet",
    )
    imported_after(", ".join(f"rodin_models.{module}" for module in modules), forbid)


def test_the_vocabulary_is_light():
    loaded = imported_after("pipeline.contracts.rendering")
    assert not loaded & {"torch", "ray", "zarr", "webdataset", "PIL", "bpy"}
