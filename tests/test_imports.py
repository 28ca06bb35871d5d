"""What importing the core costs, and what happens without the extras."""

import importlib.util
import pkgutil
import subprocess
import sys
import types

import pytest

import jaxcollapse as jc

PACKAGES = ["jaxcollapse"] + [
    module.name for module in pkgutil.walk_packages(jc.__path__, "jaxcollapse.") if module.ispkg
]
HEAVY = {"matplotlib", "xarray", "pandas", "tyro", "rich", "h5py", "flax", "optax", "orbax"}
HEAVY |= {"plotly", "transformers", "tokenizers", "safetensors"}


def python(code, **kwargs):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_core_brings_nothing_heavy():
    loaded = python("import sys, jaxcollapse; print(*sys.modules)").split()
    assert not {name.partition(".")[0] for name in loaded} & HEAVY


def test_import_costs_well_under_a_second():
    code = (
        "import time, jax, jax.numpy; start = time.process_time(); import jaxcollapse; "
        "print(time.process_time() - start)"
    )
    assert min(float(python(code)) for _ in range(3)) < 0.6


def test_importing_compiles_nothing():
    code = (
        "import jax; events = []; "
        "jax.monitoring.register_event_duration_secs_listener(lambda n, s, **k: events.append(n)); "
        "import jaxcollapse; print(sum('backend_compile' in e for e in events))"
    )
    assert int(python(code)) == 0


def test_a_missing_extra_is_named():
    code = (
        "import sys; sys.modules['xarray'] = None; import jaxcollapse as jc\n"
        "try: jc.sweep('gaussian', ['replace'], {'dim': [1], 'num_samples': [5]}, 1, 1)\n"
        "except ImportError as error: print(error)"
    )
    assert "pip install 'jaxcollapse[sweep]'" in python(code)


def test_the_extra_of_language_models_is_named():
    code = (
        "import sys; sys.modules['flax'] = None; import jaxcollapse as jc\n"
        "try: jc.language_model\n"
        "except ImportError as error: print(error)"
    )
    assert "pip install 'jaxcollapse[lm]'" in python(code)


@pytest.mark.parametrize(
    "package",
    PACKAGES,
)
def test_no_public_name_hides_a_module(package):
    found = importlib.import_module(package)
    for name in getattr(found, "__all__", ()):
        if importlib.util.find_spec(f"{package}.{name}") is not None:
            assert isinstance(getattr(found, name), types.ModuleType), name


def test_a_sweep_is_a_function_and_sweeps_are_a_module():
    import jaxcollapse.sweeps.chains as chains

    assert isinstance(jc.sweeps, types.ModuleType)
    assert isinstance(chains, types.ModuleType)
    assert jc.sweep is chains.sweep
