"""Image resizers as plain `nn.Module`s: the learned one, and what it is compared with.

`build("learned", output_size=224)` gives a module; `RESIZERS` lists what there is. Importing
this package does not import torch; building does.
"""

from resizer.building import build
from resizer.specs import RESIZERS, Spec, names

__all__ = ["RESIZERS", "Spec", "build", "names"]
