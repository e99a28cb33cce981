"""The Khronos glTF validator, from npm."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

REQUIRED = "RODIN_PIPE_GLTF_VALIDATOR"
"""Set to 1, a validator that is missing is a failure; else the test is skipped."""
_SCRIPT = """
const validator = require("gltf-validator");
validator.validateBytes(new Uint8Array(require("fs").readFileSync(process.argv[1]))).then(
  (report) => console.log(JSON.stringify(report)));
"""


def validated(path: Path) -> dict[str, Any]:
    """The validator's report on a file."""
    node, npm = shutil.which("node"), shutil.which("npm")
    roots = [os.environ.get("NODE_PATH", "")]
    if npm is not None:
        roots.append(subprocess.run([npm, "root", "-g"], capture_output=True, text=True).stdout.strip())
    found = node is not None and any((Path(root) / "gltf-validator").is_dir() for root in roots if root)
    if not found:
        said = "no glTF validator here: npm install -g gltf-validator"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{said}; {REQUIRED} is 1")
        pytest.skip(said)
    environment = {**os.environ, "NODE_PATH": os.pathsep.join(root for root in roots if root)}
    done = subprocess.run([str(node), "-e", _SCRIPT, str(path)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report
