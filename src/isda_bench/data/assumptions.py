"""Assumptions where the papers are silent. Tables print them; this module imports no torch."""

SCALE_ASSUMPTION = (
    "RandAugment: its paper does not say on which scale its strength M lies; public codes end it at 10 or at "
    "30; here it ends at 30, an assumption"
)
"""For wherever a result with RandAugment is printed."""
