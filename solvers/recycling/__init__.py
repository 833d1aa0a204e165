"""Krylov methods that hand a space from one solve to the next.

- `_conjugate_basis.py`: A basis of a given space that is orthonormal in the inner
  product of A.
- `_cycle_rows.py`: The blocks of vectors of a cycle of GCRO-DR, in which the recycled
  ones come first.
- `_deflated_cg.py`: CG beside a space that one solve hands to the next.
- `_deflated_minres.py`: MINRES for the projected operator, which records its Lanczos
  vectors as it goes.
- `_deflation_pair.py`: The pair that deflates MINRES, and how it is made.
- `_deflation.py`: A preconditioner that solves exactly in the span of given vectors.
- `_gcrodr.py`: GCRO-DR, restarted GMRES that keeps a subspace.
- `_lanczos_window.py`: What MINRES found hardest, gathered from a window of its Lanczos
  vectors.
- `_recycle_selection.py`: Which part of a cycle's search space GCRO-DR keeps.
- `_recycle_space.py`: The recycled pair (U, C) of GCRO-DR: A U = C, CᴴC = I, and how it
  is made.
- `_recycled_minres.py`: MINRES beside a space that one solve hands to the next.
- `_search_directions.py`: What CG found hardest, gathered from its search directions.
"""

from ._deflated_cg import DeflatedCG as DeflatedCG
from ._deflation import DeflatedInverse as DeflatedInverse
from ._deflation import Deflation as Deflation
from ._gcrodr import GCRODR as GCRODR
from ._recycle_space import RecycleSpace as RecycleSpace
from ._recycled_minres import RecycledMINRES as RecycledMINRES
