"""The tables of the Deep Conjugate Direction Method.

    python validation/conjugate_directions [--fast] [--only STAGE ...] [--redo]
        [--out FOLDER]

../stages.py says how it is run.
"""

import sys
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

# First, as it makes the modules of the benchmarks known.
import stages  # isort: skip

import ablations

if __name__ == "__main__":
    stages.run(HERE, {"ablations": ablations})
