"""The scoreboard: written by the notebooks alone, and held to their stored outputs and to the README."""

import json
import math
import re
from typing import get_args

import front_door
import nbformat
import pytest
from execute import NOTEBOOKS, ROOT, tags, text_of

from nnhelpers.course import scoreboard
from nnhelpers.course.scoreboard import Score

SCORES = [
    Score("counted one", 2.51234, 0.01, 729, 0.02, "counted"),
    Score("net", 2.0, 0.01, 10, 61.0, "Muon, 9 steps"),
]


@pytest.fixture
def board(tmp_path, monkeypatch):
    """A file of its own to record into."""
    path = tmp_path / "scoreboard.json"
    monkeypatch.setenv(scoreboard.WRITE_TO, str(path))
    return path


def test_what_is_recorded_can_be_read_and_knows_where_it_comes_from(board):
    returned = scoreboard.record(3, "names", SCORES, tolerance=0.02)
    first, second = scoreboard.load_scoreboard("names", path=board)
    assert (first.lecture, first.corpus, first.tolerance, first.method) == (3, "names", 0.02, "counted")
    assert (first.nats, second.seconds) == (2.51234, 61.0)
    assert [row.model for row in returned] == [score.model for score in SCORES]
    assert returned[0].nats == SCORES[0].nats


def test_a_lecture_recorded_again_takes_the_place_of_its_rows_alone(board):
    scoreboard.record(6, "names", SCORES, tolerance=0.0)
    scoreboard.record(2, "names", SCORES[:1], tolerance=0.0)
    scoreboard.record(7, "shakespeare", SCORES, tolerance=0.0)
    scoreboard.record(6, "names", SCORES[1:], tolerance=0.0)
    assert [(row.lecture, row.model) for row in scoreboard.load_scoreboard("names", path=board)] == [
        (2, "counted one"),
        (6, "net"),
    ]
    assert len(scoreboard.load_scoreboard("shakespeare", path=board)) == 2
    assert [row.lecture for row in scoreboard.load_scoreboard("names", before=6, path=board)] == [2]


def test_without_the_variable_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv(scoreboard.WRITE_TO, raising=False)
    monkeypatch.chdir(tmp_path)
    assert len(scoreboard.record(2, "names", SCORES, tolerance=0.0)) == 2
    assert not list(tmp_path.iterdir())


def test_a_folder_with_other_corpora_has_no_rows_to_compare_with(tmp_path, monkeypatch):
    monkeypatch.setenv("NNHELPERS_DATA", str(tmp_path))
    assert scoreboard.load_scoreboard("names") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, "names", [], 0.1), "at least one score"),
        ((2, "names", [Score("silent", 1.0, 0.0, 1, 1.0)], 0.1), "without `method`: .'silent'"),
        ((2, "names", SCORES, math.nan), "tolerance of 0 or more"),
        ((2, "poems", SCORES, 0.1), "not 'poems'"),
    ],
)
def test_a_score_that_tells_too_little_is_refused(board, arguments, message):
    with pytest.raises(ValueError, match=message):
        scoreboard.record(*arguments)
    assert not board.exists()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"format": "another", "rows": []}',
        '{"format": "nnhelpers.scoreboard 1", "rows": [{"x": 1}]}',
    ],
)
def test_a_damaged_scoreboard_gets_a_sentence(tmp_path, content):
    path = tmp_path / "scoreboard.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"scoreboard\.json"):
        scoreboard.load_scoreboard("names", path=path)


def test_a_scoreboard_of_the_first_version_is_read(tmp_path):
    path = tmp_path / "scoreboard.json"
    row = {
        "model": "m",
        "nats": 2.0,
        "standard_error": 0.1,
        "n_parameters": 3,
        "seconds": 1.0,
        "how": "counted",
    }
    row |= {"lecture": 2, "corpus": "names", "tolerance": 0.1}
    path.write_text(json.dumps({"format": "nnhelpers.scoreboard 1", "rows": [row]}))
    (found,) = scoreboard.load_scoreboard("names", path=path)
    assert (found.method, found.nats, found.lecture) == ("counted", 2.0, 2)


# The course's own


def own_cells():
    """For each recording cell of the notebooks: lecture, corpus, and the text of the cells from there on."""
    for path in NOTEBOOKS:
        cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
        for i, cell in enumerate(cells):
            for lecture, corpus in re.findall(r'scoreboard\.record\((\d), "(\w+)"', cell.source):
                assert int(lecture) == int(path.stem[:2])
                yield int(lecture), corpus, "\n".join(map(text_of, cells[i : i + 2]))


def test_every_lecture_with_a_language_model_is_on_the_scoreboard_and_no_other():
    rows = [row for corpus in get_args(scoreboard.Corpus) for row in scoreboard.load_scoreboard(corpus)]
    assert {(row.lecture, row.corpus) for row in rows} == {
        (lecture, corpus) for lecture, corpus, _ in own_cells()
    }
    assert {row.lecture for row in rows} == {int(path.stem[:2]) for path in NOTEBOOKS} - {1}


def test_the_tables_in_the_notebooks_are_those_of_the_file():
    for lecture, corpus, shown in own_cells():
        rows = [row for row in scoreboard.load_scoreboard(corpus) if row.lecture <= lecture]
        decimals = 4 if lecture == 2 else 2
        table = scoreboard.table(rows, decimals)  # the bound on seconds is the notebook's own
        expected = [re.sub(r"\s+<.*", "", line) for line in table.split("\n")[1:]]
        found = [re.sub(r"\s+<.*", "", line) for line in shown.split("\n")]
        for line in expected:
            assert line in found, f"lecture {lecture}: {line}\n{shown}"


@pytest.mark.parametrize("path", front_door.PAGES, ids=lambda path: path.name)
def test_the_pages_show_what_is_measured_and_stored(path):
    page = path.read_text(encoding="utf-8")
    message = "run make execute, or python tests/tools/front_door.py"
    assert front_door.with_blocks(page, front_door.PAGES[path]) == page, message
    assert set(re.findall(r"<!-- (?!end)([\w ]+) -->", page)) == set(front_door.PAGES[path])


def test_the_pictures_are_the_stored_figures():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("front.png", "scoreboard.png"):
        assert f"(data/{name})" in readme
    ((_, figure),) = front_door.stored_figures("scoreboard-figure")
    assert (front_door.DATA / "scoreboard.png").read_bytes() == figure
    assert len(front_door.stored_figures("front")) == 4


def test_a_page_without_a_marker_gets_a_sentence():
    with pytest.raises(ValueError, match="<!-- scoreboard names -->"):
        front_door.with_blocks("no markers here", ["scoreboard names"])


def test_losses_lie_between_nothing_and_uniform_and_counted_ones_do_not_move():
    for corpus, n_characters in (("names", 27), ("shakespeare", 66)):
        for row in scoreboard.load_scoreboard(corpus):
            assert 1.0 < row.nats <= math.log(n_characters) + 1e-4
            assert row.tolerance <= 0.02
            assert row.standard_error < 0.02


def test_a_recording_cell_is_not_skipped_and_the_file_is_valid_json():
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            if "scoreboard.record(" in cell.source:
                assert not tags(cell)
    content = json.loads((ROOT / "data" / scoreboard.NAME).read_text(encoding="utf-8"))
    assert content["format"] == scoreboard.FORMAT
