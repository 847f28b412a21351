"""The arms without which a treatment's gain means nothing, and the sizes that two of them need."""

from __future__ import annotations

from typing import NamedTuple

from bench.spec.experiment import EQUAL, Arm, ExperimentFile
from bench.spec.trial import RESIZER_OPTIONS, Fields
from resizer.specs import RESIZERS, one_of


class Control(NamedTuple):
    """A standard control."""

    title: str  # what it is, in a few words; {px}: the side of its images
    shows: str  # what it shows if the treatment is better
    fields: Fields  # in which it is not the treatment


SMALL: Fields = {"input_size": "output_size", "eval_size": None}
PLAIN: Fields = {"resizer": "none", **SMALL}
STANDARD: dict[str, Control] = {
    "budget": Control("plain, trained as long", "the gain is not longer training", PLAIN),
    "pixels": Control(
        "the same image, plainly resized",
        "learning adds to a plain resize",
        {"resizer": "fixed", "interpolation": "bilinear", "antialias": False},
    ),
    "pixels-antialiased": Control(
        "the same image, resized with antialias",
        "learning adds to an antialiased resize",
        {"resizer": "fixed", "interpolation": "bilinear", "antialias": True},
    ),
    "capacity": Control(
        "the module without extra pixels",
        "the extra pixels add to the module",
        SMALL,
    ),
    "learning": Control(
        "the module, frozen at random weights",
        "training the module adds to its shape",
        {"frozen": ["resizer"], "frozen_resizer_norm": "batch"},
    ),
    "zero_init": Control(
        "the module, begun as a plain resize",
        "a noisy start does no harm",
        {"zero_init": True},
    ),
    "muller": Control(
        "MULLER's four parameters",
        "a network adds to four parameters",
        {"resizer": "muller"},
    ),
    "arithmetic": Control(
        "plain at {px} px: equal multiply-adds",
        "a resizer spends the arithmetic better",
        PLAIN | {"input_size": "equal_gmacs"},
    ),
    "time": Control(
        "plain at {px} px: equal training time",
        "a resizer spends the time better",
        PLAIN | {"input_size": "equal_time"},
    ),
    "ceiling": Control(
        "plain at {px} px: the whole image",
        "a resized image beats the whole one",
        {"resizer": "none"},
    ),
}

MATCHED = [name for name, of in STANDARD.items() if str(of.fields.get("input_size")) in EQUAL]
"""The controls whose size is the treatment's equal in some cost."""


def expand(spec: ExperimentFile) -> ExperimentFile:
    """Add the standard controls of every arm that asks for them.

    They have the treatment's fields but for those of the control, and start from what it starts
    from, except a trained resizer. Their names are those of `STANDARD`; with several such
    treatments in one file, the treatment's name stands before.

    Raises:
        ValueError: if `control_px` names a control whose size is not matched.
    """
    asking = [arm for arm in spec.arm if arm.controls]
    for arm in asking:
        for name in arm.control_px:
            if name not in MATCHED:
                raise ValueError(
                    f"[arm {arm.name!r}] control_px: {name!r} is no control of matched "
                    f"size{one_of(name, MATCHED)}"
                )
    added = [
        control_arm(arm, name, f"{arm.name} {name}" if len(asking) > 1 else name, own)
        for arm in asking
        for name, own in _changes(spec.trial | arm.fields).items()
    ]
    return spec.model_copy(update={"arm": [*spec.arm, *added]})


def _changes(treatment: Fields) -> dict[str, Fields]:
    """What each control changes of a treatment, those left out that it has or cannot have."""
    changes = {name: control.fields for name, control in STANDARD.items()}
    resizer = RESIZERS.get(str(treatment.get("resizer")))
    options = resizer.options if resizer else treatment
    if "zero_init" in options:  # frozen as it begins, it would be no more than a plain resize
        changes["learning"] = {**changes["learning"], "zero_init": False}
    if treatment.get("zero_init") or not resizer or "zero_init" not in resizer.options:
        del changes["zero_init"]
    return changes


def control_arm(treatment: Arm, control: str, name: str, own: Fields) -> Arm:
    """One standard control of a treatment, of which it changes its `own` fields."""
    title = STANDARD[control].title
    gone = RESIZER_OPTIONS if "resizer" in own else ()
    kept = {field: value for field, value in treatment.fields.items() if field not in gone}
    return Arm(
        name=name,
        isolates=title.replace(" at {px} px", ""),
        control=control,
        seeds=treatment.control_seeds or treatment.seeds,
        match=treatment.name if control in MATCHED else None,
        matched_px=treatment.control_px.get(control, ()),
        backbone_from=treatment.backbone_from or treatment.init_from,
        **{**kept, **own},
    )
