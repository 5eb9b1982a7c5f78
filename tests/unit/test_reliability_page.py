"""docs/reliability.md lists what the tests show."""

from tests import reliability


def test_the_page_is_up_to_date():
    assert reliability.PAGE.read_text() == reliability.page(), "out of date: run `make docs`"


def test_every_row_is_one_situation():
    situations = [(kind, situation) for kind, situation, *_ in reliability.rows()]
    assert len(situations) == len(set(situations)) > 60


def test_rows_fit_a_table():
    for row in reliability.rows():
        assert not any("|" in cell or "\n" in cell for cell in row), row
