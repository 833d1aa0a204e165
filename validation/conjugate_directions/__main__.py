"""The tables of the Deep Conjugate Direction Method.

    python validation/conjugate_directions [--fast] [--only STAGE ...] [--redo]

README.md says what is compared, and how; ../stages.py how it is run.
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
import counts
import flow
import growth
import guarantee
import slowest

if __name__ == "__main__":
    modules = {
        "counts": counts,
        "guarantee": guarantee,
        "growth": growth,
        "slowest": slowest,
        "flow": flow,
        "ablations": ablations,
    }
    stages.run(HERE, modules)
