"""The figures of a report: each arm to be told from the others, every name whole."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from io import BytesIO
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import pytest

from bench.analysis.evidence import gather
from bench.report.figures import style
from bench.report.figures.costs import components
from bench.report.figures.curves import by_axis, heat
from bench.report.figures.intervals import differences
from bench.report.figures.style import Drawing, arm_styles
from bench.report.made import Report
from bench.report.pages import draw
from bench.report.words import NONE
from bench.spec.experiment import Experiment
from bench.spec.trial import Trial
from bench.store import Store
from tests.fakes import (
    NARROW,
    WIDE,
    experiment,
    fill,
    time_all,
    top1,
)


def styled(draws: Callable[..., Drawing | None], *about: object) -> Drawing:
    """One figure, in the style of a report's."""
    with mpl.rc_context(style.STYLE):
        drawn = draws(*about)
    assert drawn
    return drawn


def test_the_time_of_a_step_is_shown_by_component(
    whole: tuple[Report, Experiment, Store],
) -> None:
    drawn = styled(components, gather(*whole[1:]))
    assert "num_resblocks 1, learned, 64 → 32 px: the resizer takes 25 %" in drawn.alt
    assert (whole[0].folder / "figures" / "components.svg").read_text() == drawn.file


def test_an_arm_has_one_colour_in_every_figure_and_in_the_table(
    whole: tuple[Report, Experiment, Store],
) -> None:
    report, asked, _ = whole
    styles = arm_styles(asked.spec.arm)
    assert len({style.colour for style in styles.values()}) == len(asked.spec.arm)
    for name in ("differences", "cost", "learning-curves", "spectra"):
        drawn = (report.html.parent / "figures" / f"{name}.svg").read_text()
        assert styles["learned"].colour in drawn
        assert styles["fixed"].colour in drawn
    assert f"--arm: {styles['learned'].colour}" in report.html.read_text()


def test_an_arm_stands_at_the_values_of_an_axis_that_its_trials_answer(tmp_path: Path) -> None:
    axes = 'dataset = ["fine"]\noutput_size = [16, 32]\nnum_resblocks = [0, 1]'
    asked, store = experiment(tmp_path, axes), Store(tmp_path)
    fill(asked, store, top1)
    evidence = gather(asked, store)
    assert f">{NONE}<" not in styled(by_axis, evidence, "output_size").file
    assert f">{NONE}<" in styled(by_axis, evidence, "num_resblocks").file


def test_differences_over_backbones_and_sizes_are_a_map_with_their_means(tmp_path: Path) -> None:
    axes = 'dataset = ["fine"]\nbackbone = ["resnet10t", "resnet18"]\noutput_size = [16, 32]'
    asked, store = experiment(tmp_path, axes), Store(tmp_path)

    def gained(trial: Trial) -> float:
        gain = (trial.output_size or 0) / 16 + (trial.backbone == "resnet18")
        return 50.0 + (gain if trial.resizer == "learned" else 0.0)

    fill(asked, store, gained)
    drawn = styled(heat, gather(asked, store)).file
    assert [drawn.count(f">{number}<") for number in ("+1.0", "+2.0", "+3.0")] == [1, 2, 1]
    begun = Store(tmp_path / "begun")
    fill(
        asked,
        begun,
        lambda one: None if one.backbone_size == 32 and one.backbone == "resnet18" else gained(one),
    )
    assert "nan" not in styled(heat, gather(asked, begun)).file
    narrow = experiment(tmp_path, 'dataset = ["fine"]\noutput_size = [16, 32]')
    fill(narrow, store, gained)
    assert heat(gather(narrow, store)) is None


def test_numbers_and_names_of_a_map_of_many_sizes_do_not_touch(tmp_path: Path) -> None:
    axes = 'dataset = ["fine", "coarse"]\nbackbone = ["resnet10t", "vit_small_patch16_224"]\n'
    asked = experiment(tmp_path, axes + "input_size = [320, 448]\noutput_size = [160, 224]")
    fill(asked, store := Store(tmp_path), top1)
    figure = styled(heat, gather(asked, store)).figure
    for ax in figure.axes:
        for texts in (ax.texts, ax.get_xticklabels(), ax.get_yticklabels()):
            boxes = [text.get_window_extent() for text in texts]
            assert len(boxes) in (2, 4, 8)
            assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_long_names_of_backbones_leave_the_panels_their_room_and_are_whole(tmp_path: Path) -> None:
    named = '["vit_base_patch16_clip_224.openai_ft_in12k_in1k", "resnet18"]'
    axes = f'dataset = ["fine", "coarse"]\nbackbone = {named}\noutput_size = [16, 32]'
    asked = experiment(tmp_path, axes)
    fill(asked, store := Store(tmp_path), top1)
    evidence = gather(asked, store)
    for drawn in (styled(heat, evidence), styled(by_axis, evidence, "backbone")):
        figure = drawn.figure
        for ax in figure.axes:
            assert ax.get_position().width > 0.2
            labels = [*ax.get_xticklabels(), *ax.get_yticklabels()]
            assert all(label.get_window_extent().x0 >= 0 for label in labels)


def test_values_of_an_axis_are_joined_by_lines_where_they_are_numbers_alone(tmp_path: Path) -> None:
    axes = 'dataset = ["fine"]\nbackbone = ["resnet10t", "resnet18"]\noutput_size = [16, 32]'
    asked, store = experiment(tmp_path, axes), Store(tmp_path)
    fill(asked, store, top1)
    evidence = gather(asked, store)
    for axis, style_ in (("backbone", "None"), ("output_size", "-")):
        figure = styled(by_axis, evidence, axis).figure
        assert {line.get_linestyle() for line in figure.axes[0].get_lines()} == {style_}


@pytest.mark.parametrize(("axis", "ends"), [("backbone", 0.27), ("output_size", 0.0)])
def test_arms_stand_at_their_number_or_beside_one_another_each_mean_among_its_dots(
    tmp_path: Path, axis: str, ends: float
) -> None:
    axes = 'dataset = ["fine"]\nbackbone = ["resnet10t", "resnet18"]\noutput_size = [16, 32]'
    asked, store = experiment(tmp_path, axes), Store(tmp_path)
    fill(asked, store, top1)
    figure = styled(by_axis, gather(asked, store), axis).figure
    ax = figure.axes[0]
    means = {round(float(x), 2) for line in ax.get_lines() for x in line.get_xdata()}
    assert means == {at + side * ends for at in (0, 1) for side in (-1, 0, 1)}
    dots = {round(float(x), 2) for strip in ax.collections for x, _ in strip.get_offsets()}
    assert dots == means


def test_no_two_of_many_arms_look_the_same(whole: tuple[Report, Experiment, Store]) -> None:
    first = whole[1].spec.arm[1]
    arms = [first.model_copy(update={"name": f"arm {i}"}) for i in range(40)]
    assert len(set(arm_styles(arms).values())) == 40


@pytest.mark.parametrize(("axes", "seeds", "cut"), [(NARROW, 3, False), (WIDE, 2, True)])
def test_an_interval_that_the_figure_cuts_off_has_an_arrow(
    tmp_path: Path, axes: str, seeds: int, cut: bool
) -> None:
    """Four comparisons that share one error have intervals far wider than their two seeds."""
    asked, store = experiment(tmp_path, axes, seeds), Store(tmp_path)
    fill(asked, store, lambda trial: 5.0 * trial.seed * (trial.resizer == "learned"))
    drawn = differences(gather(asked, store))
    assert drawn
    assert drawn.caption.endswith("An arrow: the interval goes on.") == cut


def test_pictures_are_shown_of_arms_with_a_resizer_alone(
    whole: tuple[Report, Experiment, Store],
) -> None:
    alt = re.search(r"One validation image as it is loaded[^\"]*", whole[0].html.read_text())
    assert alt
    assert alt.group().endswith("for fixed and learned.")


@pytest.mark.parametrize("length", [4, 12, 25, 60])
def test_a_legend_of_many_arms_fits_its_figure_and_leaves_the_panel_its_height(length: int) -> None:
    names = [f"{'arm' * length} {n}"[-length:] for n in range(13)]
    figure, axes = style.panels(1, dict.fromkeys(names, style.ArmStyle("#000000", "s")))
    with mpl.rc_context(style.STYLE):
        figure.savefig(BytesIO(), format="svg")
    assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1
    assert axes[0].get_window_extent().height > 150


def test_names_without_a_letter_that_shows_have_a_legend_all_the_same() -> None:
    figure, _ = style.panels(
        1, dict.fromkeys([" ", "\N{NO-BREAK SPACE}"], style.ArmStyle("#000", "s"))
    )
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        " ",
        "\N{NO-BREAK SPACE}",
    ]


@pytest.mark.parametrize("ends", [(1, 1), (0.999, 1.001), (0.76, 1.34), (1, 4.9), (1, 9), (1, 999)])
def test_a_logarithmic_axis_of_any_length_has_the_labels_to_read_it_by(
    ends: tuple[float, float],
) -> None:
    ax = style.sheet(2.0).subplots()
    ax.plot(ends, ends)
    style.logarithmic(ax, ends)
    low, high = ax.get_xlim()
    assert 3 <= sum(low <= tick <= high for tick in ax.get_xticks()) <= 7


def test_a_dollar_in_a_name_is_a_dollar_in_every_figure(tmp_path: Path) -> None:
    dollar = {'name = "fixed"': 'name = "$5 \\\\frac{$"'}
    asked, store = experiment(tmp_path, NARROW, but=dollar), Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    drawn = draw(gather(asked, store))
    assert drawn
    assert any(r"$5 \frac{$" in html.unescape(one.file) for one in drawn.values())
