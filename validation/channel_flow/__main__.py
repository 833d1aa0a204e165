"""The simulation of channel flow, checked against solutions and published tables.

    python validation/channel_flow [--fast] [--only STAGE ...] [--redo] [--out FOLDER]

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

import box
import ladder
import les
import speed

STAGES = {"ladder": ladder, "speed": speed, "box": box, "les": les}

if __name__ == "__main__":
    stages.run(HERE, STAGES)
