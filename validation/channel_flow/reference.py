"""Published statistics of channels near Re_τ = 180.

- MKM99: R. D. Moser, J. Kim, N. N. Mansour, Phys. Fluids 11 (1999),
  doi:10.1063/1.869966, Re_τ = 178.12: the mean velocity at some points.
- del Álamo: J. C. del Álamo, J. Jiménez, Phys. Fluids 15 (2003), doi:10.1063/1.1570830,
  Re_τ = 186.3: the peaks of fluctuations and Reynolds stress, and where they are.
- S. A. Orszag, J. Fluid Mech. 50 (1971), doi:10.1017/S0022112071002842: the eigenvalue
  of the growing mode of plane Poiseuille flow at Re = 10 000, α = 1.
"""

# y⁺ and U⁺.
MEAN = (
    (1.34, 1.334),
    (5.34, 5.113),
    (8.99, 7.905),
    (13.56, 10.311),
    (19.0, 12.066),
    (25.3, 13.276),
    (30.0, 13.870),
    (46.1, 15.101),
    (65.1, 15.993),
    (98.0, 17.094),
    (122.3, 17.672),
    (147.7, 18.103),
    (178.1, 18.301),
)

# The largest value and its y⁺.
PEAKS = {
    "u_rms": (2.659, 14.2),
    "v_rms": (0.850, 54.6),
    "w_rms": (1.091, 34.9),
    "reynolds_stress": (0.734, 31.4),
}

ORSZAG = 0.23752649 + 0.00373967j
"""c of exp(i α (x - c t)), in units of the velocity on the axis."""
