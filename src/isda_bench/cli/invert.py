"""Draws images of ISDA's augmented features, by inversion of a classifier (supplement C).

isda-bench invert run=runs/<run id> generator=runs/generators/<run id>
    [iterations=10000] of each step; the learning rate falls after each quarter
    [images=10] [augmentations=7] of each   [nearest=0] training images shown for each augmented feature
    [strength=...] lambda, else the run's   [eta=1] weight of the pixels in Step I   [seed=0]
    [out=<directory>] [root=data] [device=auto] [compile=false]

Step I finds the generator's input for real images, Step II restores their augmented features. Writes figure
and curves (.svg, .png, .pdf) and inversion.json into out, else below inversions/ beside the run.
The same command resumes a stopped inversion; with another nearest= it only draws again.
"""

from isda_bench.config.options import main
from isda_bench.inversion.run import invert
from isda_bench.inversion.setup import InversionOptions


def invert_features(options: InversionOptions) -> None:
    """Inverts the classifier and prints the path of the result."""
    print("written:", invert(options))


def command() -> None:
    """Runs it with the options of the command line."""
    main(InversionOptions, invert_features, __doc__)
