"""The two files that `new` writes: a question of one's own, and a front end to ask it of."""

from __future__ import annotations

import re
from pathlib import Path

from bench.errors import InputError

FRONT_END = """from torch import nn


class Sharpen(nn.Sequential):
    def __init__(self, output_size):
        super().__init__(nn.AdaptiveAvgPool2d(output_size), nn.Conv2d(3, 3, 3, padding=1))
"""

QUESTION = """question = "Does my front end beat a plain resize?"
primary = ["mine", "plain"] # the one comparison that gets a verdict
margin_pct = 1.0 # differences smaller than this do not matter to me

[trial]
dataset = "imagewoof-160"
backbone = "resnet18" # any timm classifier, or "torchvision:resnet18"
input_size = 128 # pixels
output_size = 64
epochs = 20

[axes]
seed = [0, 1, 2, 3, 4]

[[arm]]
name = "plain"
role = "baseline"
resizer = "none"
input_size = "output_size" # loaded at 64 px, straight to the backbone

[[arm]]
name = "mine"
role = "treatment"
resizer = "my_front_ends:Sharpen" # or one of ours: fixed, learned, muller, strided
controls = "standard" # adds the arms without which a gain means nothing
"""


def start(name: str, folder: Path) -> tuple[Path, Path]:
    """Write `NAME.toml` and the module of its front end into the folder; both plan at once.

    Raises:
        InputError: if the name is none of a file and a module, or one of the files is there.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name) or name.endswith("-small"):
        raise InputError(
            f"new {name!r}: lower-case letters, digits, - and _, with a letter first, and no "
            "-small at the end"
        )
    module = f"{name.replace('-', '_')}_front_ends" if name != "mine" else "my_front_ends"
    question, front_end = folder / f"{name}.toml", folder / f"{module}.py"
    for path in (question, front_end):
        if path.exists():
            raise InputError(f"{path} is there already: give the new question another name")
    question.write_text(QUESTION.replace("my_front_ends", module))
    front_end.write_text(FRONT_END)
    return question, front_end
