"""What the papers leave open and a reader of a result has to know; tables print it without torch."""

SCALE_ASSUMPTION = (
    "RandAugment: its paper does not say on which scale its strength M lies; public codes end it at 10 or at "
    "30; here it ends at 30, an assumption"
)
"""For wherever a result with RandAugment is printed."""
