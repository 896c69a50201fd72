import pytest
from hypothesis import given
from hypothesis import strategies as st

from btnet.serving.selection import INDICATORS, RULES, select

sides = st.integers(1, 300)
pyramids = st.lists(st.integers(1, 200), min_size=1, max_size=6, unique=True)


@pytest.mark.parametrize(
    ("width", "height", "indicator", "rule", "expected"),
    [
        (20, 14, "max", "ceil", 28),
        (20, 14, "max", "floor", 14),
        (20, 14, "max", "near", 14),
        (22, 14, "max", "near", 28),
        (20, 14, "min", "ceil", 14),
        (21, 21, "max", "near", 14),  # as far from 28: ties go down
        (70, 70, "max", "near", 28),  # as far from 112
        (15, 14, "avg", "ceil", 14),  # 14.5 is cut to 14
        (5, 3, "max", "floor", 7),
        (300, 300, "max", "ceil", 112),
        (28, 28, "max", "ceil", 28),
        (28, 28, "min", "floor", 28),
    ],
)
def test_faces_go_to_the_branch_of_figure_8(
    width: int, height: int, indicator: str, rule: str, expected: int
) -> None:
    assert select(width, height, indicator=indicator, rule=rule) == expected


def test_default_is_max_and_ceil() -> None:
    assert select(10, 15) == select(10, 15, indicator="max", rule="ceil") == 28


@given(sides, sides, pyramids, st.sampled_from(INDICATORS))
def test_near_is_floor_or_ceil_whichever_is_closer(
    width: int, height: int, resolutions: list[int], indicator: str
) -> None:
    size = {"max": max(width, height), "min": min(width, height), "avg": (width + height) // 2}[indicator]
    floor, near, ceil = (select(width, height, resolutions, indicator, r) for r in ("floor", "near", "ceil"))
    assert floor <= near <= ceil
    assert near == (floor if abs(size - floor) <= abs(ceil - size) else ceil)


@given(sides, sides, pyramids, st.sampled_from(INDICATORS), st.sampled_from(RULES))
def test_order_of_resolutions_and_of_sides_does_not_matter(
    width: int, height: int, resolutions: list[int], indicator: str, rule: str
) -> None:
    chosen = select(width, height, resolutions, indicator, rule)
    assert chosen in resolutions
    assert chosen == select(height, width, sorted(resolutions), indicator, rule)


@given(sides, sides, pyramids, st.sampled_from(INDICATORS), st.sampled_from(RULES))
def test_a_larger_face_never_gets_a_smaller_branch(
    width: int, height: int, resolutions: list[int], indicator: str, rule: str
) -> None:
    smaller = select(width, height, resolutions, indicator, rule)
    assert smaller <= select(width + 1, height + 1, resolutions, indicator, rule)


def test_bad_input_is_answered_with_what_is_expected() -> None:
    with pytest.raises(ValueError, match="0 x 7 px is empty"):
        select(0, 7)
    with pytest.raises(ValueError, match="at least one size"):
        select(7, 7, resolutions=())
    with pytest.raises(ValueError, match="'mean' is unknown; choose one of max, min, avg"):
        select(7, 7, indicator="mean")
    with pytest.raises(ValueError, match="'up' is unknown; choose one of floor, near, ceil"):
        select(7, 7, rule="up")
