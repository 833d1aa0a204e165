"""The tables of high-frequency equations by Gaussian processes, measured again.

    python validation/gaussian_process [--fast] [--only STAGE ...] [--redo]
        [--out FOLDER]

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
import calibration
import coupled
import joint
import resolution
from table import FURTHER, PAPER

STAGES = {
    "paper": PAPER,
    "further": FURTHER,
    "resolution": resolution,
    "calibration": calibration,
    "ablations": ablations,
    "coupled": coupled,
    "joint": joint,
}

if __name__ == "__main__":
    stages.run(HERE, STAGES)
