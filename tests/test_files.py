"""Files that are there whole or not at all, and reading that never runs what it reads."""

from __future__ import annotations

import json
import os
import pickle
import stat

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load_file

from nnhelpers import files

TENSORS = {
    "a": torch.arange(6.0).view(2, 3),
    "half": torch.randn(4).bfloat16(),
    "ids": torch.arange(3),
    "empty": torch.zeros(0, 2),
    "one": torch.tensor(1.5, dtype=torch.float64),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def same(a, b):
    return sorted(a) == sorted(b) and all(
        torch.equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a
    )


def only(folder, *names):
    """Nothing but these files lies in the folder: no temporary one was left."""
    return sorted(os.listdir(folder)) == sorted(names)


READ_ONLY = "/proc"


@pytest.mark.skipif(
    not os.path.isdir(READ_ONLY), reason="a folder in which not even an administrator can write"
)
def test_a_read_only_place_gets_a_sentence_before_the_work():
    for check in (
        lambda: files.check_destination(f"{READ_ONLY}/file"),
        lambda: files.check_folder(READ_ONLY),
        lambda: files.check_folder(f"{READ_ONLY}/new/folder"),
    ):
        with pytest.raises(
            OSError, match=r"^no file can be written into the folder '/proc' \(.*\); give another$"
        ):
            check()


def test_a_destination_is_a_place_for_a_file_in_a_folder_that_exists(tmp_path):
    files.check_destination(tmp_path / "new")
    (tmp_path / "old").write_text("old")
    files.check_destination(tmp_path / "old")
    with pytest.raises(
        FileNotFoundError, match=r"there is no folder .*none.* to write new into; make it first"
    ):
        files.check_destination(tmp_path / "none" / "new")
    with pytest.raises(IsADirectoryError, match="is a folder; give the path of a file to write"):
        files.check_destination(tmp_path)
    assert only(tmp_path, "old")


def test_a_folder_need_not_exist_but_none_of_those_above_it_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    for folder in (tmp_path, "new", "new/folder", ".", tmp_path / "a" / "b"):
        files.check_folder(folder)
    for folder in ("file", "file/new", tmp_path / "file" / "a" / "b"):
        with pytest.raises(NotADirectoryError, match=r"file' is a file; give the path of a folder"):
            files.check_folder(folder)
    assert only(tmp_path, "file")


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="a device")
def test_a_device_is_never_replaced_by_a_file():
    for write in (files.check_destination, lambda path: files.write_bytes(path, b"")):
        with pytest.raises(OSError, match="'/dev/null' is a device, not a file, which cannot be replaced"):
            write("/dev/null")


def test_bytes_are_written_as_they_are(tmp_path):
    path = tmp_path / "file"
    for content in (b"", b"\x00\xff\r\n", b"longer than before", b"short"):
        files.write_bytes(path, content)
        assert path.read_bytes() == content
        assert only(tmp_path, "file")
    files.write_bytes(str(path), b"a path as a string")
    assert path.read_bytes() == b"a path as a string"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@given(content=JSON)
@settings(deadline=None, max_examples=60)
def test_json_comes_back_as_it_was(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("json") / "file.json"
    try:
        files.write_json(path, content)
    except UnicodeEncodeError:  # half a character is no text
        assert not path.exists()
        return
    assert files.read_json(path) == content
    assert path.read_bytes().endswith(b"\n")


def test_json_is_utf_8_and_indented(tmp_path):
    files.write_json(tmp_path / "file.json", {"é": [1]})
    assert (tmp_path / "file.json").read_bytes() == '{\n  "é": [\n    1\n  ]\n}\n'.encode()


def test_tensors_and_metadata_come_back_bit_for_bit(tmp_path):
    path = tmp_path / "file.safetensors"
    files.write_tensors(path, TENSORS, {"epoch": "3", "ü": "ß"})
    tensors, metadata = files.read_tensors(path)
    assert same(tensors, TENSORS)
    assert metadata == {"epoch": "3", "ü": "ß"}
    assert same(load_file(path), TENSORS)
    files.write_tensors(path, {})
    assert files.read_tensors(path) == ({}, {})
    assert only(tmp_path, "file.safetensors")


def test_tensors_that_share_memory_or_need_gradients_are_written_as_the_numbers_they_are(tmp_path):
    matrix = torch.arange(6.0).view(2, 3)
    tensors = {
        "a": matrix,
        "same": matrix,
        "turned": matrix.T,
        "row": matrix[1],
        "p": torch.nn.Parameter(matrix),
    }
    files.write_tensors(tmp_path / "file", tensors)
    again, _ = files.read_tensors(tmp_path / "file")
    assert same(again, {name: tensor.detach() for name, tensor in tensors.items()})
    again["a"].zero_()
    assert matrix.sum() == 15 == again["same"].sum()


# When writing fails


class FullError(Exception):
    pass


def test_a_full_disk_is_an_os_error_with_a_sentence_and_the_old_tensors_stay(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    files.write_tensors(path, TENSORS)

    def full(*_):
        raise SafetensorError("No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match=r"model.safetensors could not be written: No space left"):
        files.write_tensors(path, {"a": torch.zeros(1)})
    assert same(files.read_tensors(path)[0], TENSORS)
    assert only(tmp_path, "model.safetensors")


@pytest.mark.parametrize("error", [FullError, KeyboardInterrupt])
@pytest.mark.parametrize("fails", ["fsync", "chmod", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(fails, error, tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_bytes(path, b"old")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(files.os, fails, fail)
    for write in (
        lambda: files.write_bytes(path, b"new"),
        lambda: files.write_json(path, [1]),
        lambda: files.write_tensors(path, TENSORS),
    ):
        with pytest.raises(error):
            write()
        assert path.read_bytes() == b"old"
        assert only(tmp_path, "file")


def test_what_can_not_be_written_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "file", {1, 2})
    with pytest.raises(Exception, match="str"):  # metadata are strings
        files.write_tensors(tmp_path / "file", TENSORS, {"epoch": 3})
    assert only(tmp_path)


def test_the_content_is_on_the_disk_before_the_name_points_to_it(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(files.os, name, lambda *a, real=real, name=name: (calls.append(name), real(*a)))
    files.write_bytes(tmp_path / "file", b"content")
    assert calls == ["fsync", "replace"]


def test_a_reader_sees_the_old_content_or_the_new_one(tmp_path):
    path = tmp_path / "file"
    files.write_bytes(path, b"old")
    with path.open("rb") as reader:
        files.write_bytes(path, b"new and longer")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new and longer"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no folder '.*nowhere' to write file.json into; make it first"
    ):
        files.write_json(tmp_path / "nowhere" / "file.json", {})


# When reading fails


def test_tensors_cut_short_at_any_byte_are_refused(tmp_path):
    path = tmp_path / "file"
    files.write_tensors(path, {"a": torch.arange(4.0), "b": torch.arange(2)}, {"k": "v"})
    whole = path.read_bytes()
    for n_bytes in range(len(whole)):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(ValueError, match="file is not a safetensors file, or is cut short"):
            files.read_tensors(path)
    path.write_bytes(whole + b"\x00")
    with pytest.raises(ValueError, match="not a safetensors file"):
        files.read_tensors(path)


def test_json_cut_short_at_any_byte_is_refused(tmp_path):
    path = tmp_path / "file.json"
    files.write_json(path, {"é": [1, 2, {"x": None}]})
    whole = path.read_bytes()
    for n_bytes in range(len(whole) - 1):  # the last byte is the newline
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(ValueError, match=r"file\.json is not JSON, or is cut short"):
            files.read_json(path)
    path.write_bytes("{}".encode("utf-16"))
    with pytest.raises(ValueError, match="not JSON"):
        files.read_json(path)


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("save", [lambda x, path: path.write_bytes(pickle.dumps(x)), torch.save])
def test_a_pickle_is_refused_and_not_run(save, tmp_path):
    path, mark = tmp_path / "model.pt", tmp_path / "mark"
    save(Trap(str(mark)), path)
    with pytest.raises(
        ValueError, match=r"Pickled checkpoints \(.pt, .bin\) are not read, because loading one can"
    ):
        files.read_tensors(path)
    with pytest.raises(ValueError, match="not JSON"):
        files.read_json(path)
    assert not mark.exists()


@pytest.mark.parametrize("read", [files.read_json, files.read_tensors])
def test_a_file_that_is_not_there_is_named(read, tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"there is no file '{path}'"):
            read(path)


def test_what_is_read_is_json_as_others_read_it(tmp_path):
    files.write_json(tmp_path / "a", {"x": 0.1})
    assert json.loads((tmp_path / "a").read_text()) == {"x": 0.1}
