"""Seeds on several devices are the seeds on one."""

import json
import subprocess
import sys

import numpy as np

import jaxcollapse as jc

CODE = """
import json, jax
jax.config.update("jax_num_cpu_devices", 3)
import jaxcollapse as jc
axes = {"dim": [2], "num_samples": [6]}
result = jc.sweep("gaussian", ["replace", "accumulate-subsample"], axes, 7, 4)
print(json.dumps([result.attrs["device"], result["wasserstein2"].values.tolist()]))
"""


def test_three_devices():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    device, values = json.loads(done.stdout)
    assert device.startswith("3 x")
    axes = {"dim": [2], "num_samples": [6]}
    one = jc.sweep("gaussian", ["replace", "accumulate-subsample"], axes, 7, 4)
    np.testing.assert_allclose(values, one["wasserstein2"], rtol=2e-5)
