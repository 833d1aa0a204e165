"""How a data set is kept, published, read and checked.

- `_assembled.py`: A published folder: segments put together by id, and moved into place
  at once.
- `_card.py`: The data card: what a data set is.
- `_checked.py`: JSON that somebody else may have written, of the expected form or
  refused.
- `_commits.py`: The record of a finished segment: what makes it count.
- `_dataset.py`: Reads a published data set.
- `_describe.py`: Describes what is published in words and numbers: what `krylax info`
  prints.
- `_files.py`: Files that are either whole or absent, and never those of somebody else.
- `_plain.py`: What a store may consist of: plain files in plain folders.
- `_preview.py`: Draws samples: parameter, solution and residual.
- `_publish.py`: Puts a data set together by sample id and moves it into place.
- `_publish_trajectory.py`: Puts a trajectory together in the order of time and moves it
  into place at once.
- `_published.py`: What all published folders have in common: attributes, and arrays
  read on demand.
- `_record.py`: Objects as plain JSON, and back: what a configuration is made of.
- `_segments.py`: A segment: solved, kept and retried as one.
- `_shards.py`: Writes the shards of a Zarr array that has one chunk per sample.
- `_space.py`: Disk space: counted before it is needed, and reported when it is gone.
- `_trajectory.py`: Reads a published trajectory: fields in time, the grid they are on,
  provenance.
- `_verify.py`: Checks what is published: every checksum, and of a data set every
  residual.
- `_working_folder.py`: The folder in which a run lives until it is published.
"""

from ._dataset import Dataset as Dataset
from ._dataset import open_dataset as open_dataset
from ._describe import describe as describe
from ._describe import summary as summary
from ._preview import preview as preview
from ._space import OutOfSpaceError as OutOfSpaceError
from ._trajectory import Trajectory as Trajectory
from ._trajectory import open_trajectory as open_trajectory
from ._verify import Verification as Verification
from ._verify import verify as verify
