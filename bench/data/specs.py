"""What datasets there are, and what each must contain. Free of torch; standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SPLITS = ("train", "val")
BASE_ADDRESS = "https://s3.amazonaws.com/fast-ai-imageclas/"
"""Where the archives of `DATASETS` are, each under its own file name."""


@dataclass(frozen=True)
class DatasetSpec:
    """One entry of `DATASETS`: an archive that is fetched or imported, or a generator.

    A generator is a function from a split to (name, label, image)s; its module also has `NAME`,
    `CLASSES`, `COUNTS` (images per split) and `VERSION`.
    """

    title: str  # one line for people
    classes: Mapping[str, str] = field(default_factory=dict)  # folder -> readable, by label
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # split -> folder -> n
    archive: str | None = None  # file name below `BASE_ADDRESS`; its stem is also its top folder
    digests: tuple[str, ...] = ()  # all in circulation, "md5:…" or "sha256:…": any is a match
    generator: str | None = None  # "module:function"
    side: int | None = None  # the shorter one of its images, pixels, where it was made with one


_Rows = tuple[tuple[str, str, int, int], ...]
# Name, what it is, and (class folder, readable name, train images, val images): as fastai has it.
_IMAGENETTE = (
    "Imagenette",
    "10 easy ImageNet classes",
    (
        ("n01440764", "tench", 963, 387),
        ("n02102040", "English springer", 955, 395),
        ("n02979186", "cassette player", 993, 357),
        ("n03000684", "chain saw", 858, 386),
        ("n03028079", "church", 941, 409),
        ("n03394916", "French horn", 956, 394),
        ("n03417042", "garbage truck", 961, 389),
        ("n03425413", "gas pump", 931, 419),
        ("n03445777", "golf ball", 951, 399),
        ("n03888257", "parachute", 960, 390),
    ),
)
_IMAGEWOOF = (
    "Imagewoof",
    "10 dog breeds of ImageNet",
    (
        ("n02086240", "Shih-Tzu", 941, 409),
        ("n02087394", "Rhodesian ridgeback", 942, 408),
        ("n02088364", "beagle", 932, 418),
        ("n02089973", "English foxhound", 580, 224),
        ("n02093754", "Border terrier", 949, 401),
        ("n02096294", "Australian terrier", 943, 407),
        ("n02099601", "golden retriever", 949, 401),
        ("n02105641", "Old English sheepdog", 928, 422),
        ("n02111889", "Samoyed", 921, 429),
        ("n02115641", "dingo", 940, 410),
    ),
)


def _published(family: tuple[str, str, _Rows], side: int | None, *digests: str) -> DatasetSpec:
    name, about, rows = family
    size, suffix = f"{about}, full size", ""
    if side:
        size, suffix = f"shortest side {side} px", f"-{side}"
    return DatasetSpec(
        f"{name}, {size}",
        classes={folder: readable for folder, readable, _, _ in rows},
        counts={
            "train": {folder: train for folder, _, train, _ in rows},
            "val": {folder: val for folder, _, _, val in rows},
        },
        archive=f"{name.lower()}2{suffix}.tgz",
        digests=digests,
        side=side,
    )


DATASETS: dict[str, DatasetSpec] = {
    "imagenette": _published(_IMAGENETTE, None, "md5:fe2fc210e6bb7c5664d602c3cd71e612"),
    "imagenette-320": _published(_IMAGENETTE, 320, "md5:3df6f0d01a2c9592104656642f5e78a3"),
    "imagenette-160": _published(_IMAGENETTE, 160, "md5:e793b78cc4c9e9a4ccc0c1155377a412"),
    "imagewoof": _published(
        _IMAGEWOOF,
        None,
        "sha256:d6f2ffc7b95663f7701b94cea32db1683b9a50dd389382c7cca024e840af0379",
        "md5:5eaf5bbf4bf16a77c616dc6e8dd5f8e9",
        "md5:9aafe18bcdb1632c4249a76c458465ba",
    ),
    "imagewoof-320": _published(
        _IMAGEWOOF,
        320,
        "sha256:4e4905ed7643120daaf9bf3b2ef7f3a7e8396d9bdaf254a38c6f01f618b4973d",
        "md5:af65be7963816efa949fa3c3b4947740",
    ),
    "imagewoof-160": _published(
        _IMAGEWOOF,
        160,
        "sha256:663c22f69c2802d85e2a67103c017e047096702ffddf9149a14011b7002539bf",
        "md5:fcd23cc7dfce8837c95a8f9d63a128b7",
    ),
    "synthetic-fine": DatasetSpec(
        "embedded control: the class is only in detail that a 2x reduction erases",
        generator="bench.data.synthetic:fine",
    ),
    "synthetic-coarse": DatasetSpec(
        "embedded control: the class is in coarse structure that any reduction keeps",
        generator="bench.data.synthetic:coarse",
    ),
}
