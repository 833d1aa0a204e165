"""Least squares: operators of any shape and rank.

- `_golub_kahan.py`: The bidiagonalisation of an operator of any shape, by its products
  and its adjoint's.
- `_lsmr.py`: LSMR, for least-squares problems of any shape and rank.
- `_qr.py`: QR factorisation of a dense operator of any shape, for least squares.
"""

from ._lsmr import LSMR as LSMR
from ._qr import QR as QR
from ._qr import PseudoInverse as PseudoInverse
