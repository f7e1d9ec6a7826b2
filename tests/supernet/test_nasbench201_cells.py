"""Cells of NAS-Bench-201: text both ways and the official order."""

import pytest

from supernet.spaces.nasbench201.cell import COUNT, Cell, CellError, all_cells, cell_from_names, parse_cell


def test_official_order_starts_as_published() -> None:
    first = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    assert str(all_cells()[0]) == first
    assert parse_cell(first).index == 0


def test_every_cell_is_read_back_from_its_text_and_its_names() -> None:
    cells = all_cells()
    assert len(set(cells)) == COUNT == 15_625
    for index, cell in enumerate(cells):
        assert parse_cell(str(cell)) == cell_from_names(cell.to_list()) == cell
        assert cell.index == index


@pytest.mark.parametrize(
    "text",
    [
        "",
        "|none~0|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~1|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|conv~2|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|+|none~0|none~1|none~2|none~3|",
        " |none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    ],
)
def test_what_is_no_cell_is_refused_by_name(text: str) -> None:
    with pytest.raises(CellError, match="no cell of NAS-Bench-201"):
        parse_cell(text)


def test_names_in_another_number_are_refused() -> None:
    with pytest.raises(CellError):
        cell_from_names(["none"] * 5)
    assert cell_from_names(["none"] * 6) == Cell((0,) * 6)
