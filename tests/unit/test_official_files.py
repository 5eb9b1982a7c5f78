"""Files of DeepSpeed are read without DeepSpeed, and nothing that they name is run."""

import builtins
import collections
import importlib
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from official_data import write_checkpoint

from boldvision.decoders.dynadiff_official.tensors import Placeholder, read_tensors
from boldvision.decoders.dynadiff_official.zero import read_checkpoint
from boldvision.errors import UserError

# Files of torch.save


def saved(path, content):
    torch.save(content, path)
    return path


def test_tensors_are_those_of_torch(tmp_path):
    shared = torch.arange(24.0).reshape(4, 6)
    content = {
        "part": shared[1:3, ::2],
        "turned": shared.T,
        "list": [1, "two", None, (3.0, True)],
        "ordered": OrderedDict(a=torch.tensor(3), b=torch.zeros(0, 2)),
        "shape": torch.Size([2, 3]),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        **{str(t): torch.ones(3).to(t) for t in (torch.float16, torch.bfloat16, torch.bool)},
    }
    found = read_tensors(saved(tmp_path / "file.pt", content), "")
    expected = torch.load(tmp_path / "file.pt", weights_only=True)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if torch.is_tensor(value):
            assert found[name].dtype == value.dtype
            assert torch.equal(found[name], value), name
    assert found["list"] == expected["list"]
    assert found["shape"] == (2, 3)
    assert torch.equal(found["ordered"]["a"], torch.tensor(3))
    assert found["ordered"]["b"].shape == (0, 2)


def test_numbers_stay_in_the_file_until_they_are_used(tmp_path):
    size = 64 << 20
    path = saved(tmp_path / "file.pt", [torch.zeros(size // 4), torch.ones(3)])
    before = resident_mb()
    large, small = read_tensors(path, "")
    assert large.shape == (size // 4,)
    assert small.sum() == 3
    assert resident_mb() - before < 16


def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Calls:
    """Pickled as a call."""

    def __init__(self, function, *args, state=None):
        self.call = (function, args, state) if state is not None else (function, args)

    def __reduce__(self):
        return self.call


def ran(*_):
    """Called by none of the tests."""
    raise AssertionError("a function that a file names was called")


HOSTILE = {
    "os.system": lambda mark: Calls(os.system, f"touch {mark}"),
    "eval": lambda mark: Calls(builtins.eval, f"open({str(mark)!r}, 'w')"),
    "open": lambda mark: Calls(open, str(mark), "w"),
    "an attribute": lambda mark: Calls(getattr, Calls(importlib.import_module, "os"), "system"),
    "what a call returned": lambda mark: Calls(
        Calls(getattr, Calls(importlib.import_module, "os"), "mkdir"), str(mark)
    ),
    "torch": lambda mark: Calls(torch.save, torch.ones(1), str(mark)),
    "numpy": lambda mark: Calls(np.save, str(mark), np.ones(1)),
    "pickle": lambda mark: Calls(pickle.loads, pickle.dumps(Calls(os.mkdir, str(mark)))),
    "a class of ours": lambda mark: Calls(ran, 1),
    "a state": lambda mark: Calls(collections.Counter, state={"mark": Calls(os.mkdir, str(mark))}),
}


@pytest.mark.survives(
    "files",
    "A file of official weights names functions to be called when it is read",
    "None is imported or called; the tensors beside them are read",
)
@pytest.mark.parametrize("case", HOSTILE)
def test_nothing_that_a_file_names_is_run(tmp_path, case):
    mark = tmp_path / "mark"
    path = tmp_path / "file.pt"
    try:
        torch.save({"hostile": HOSTILE[case](mark), "tensor": torch.ones(2)}, path)
    except pickle.PicklingError:  # a call of what is not callable here: by hand
        write_pickle(path, pickled_call_of_a_call(mark))
    found = read_tensors(path, "")
    assert isinstance(found["hostile"], Placeholder)
    assert not mark.exists()


def pickled_call_of_a_call(mark):
    """``getattr(import_module("os"), "mkdir")(mark)``, as text."""
    return (
        b"(S'hostile'\ncbuiltins\ngetattr\n(cimportlib\nimport_module\n(S'os'\ntRS'mkdir'\ntR"
        + f"(S'{mark}'\ntRd.".encode()
    )


def write_pickle(path, text, **members):
    """A file as torch.save writes it, of this pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("file/data.pkl", text)
        for name, content in members.items():
            archive.writestr(f"file/data/{name.removeprefix('_')}", content)


TENSOR = "ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\n{kind}\nS'0'\nS'cpu'\nI{n}\ntQ"
"""Beginning of the pickle of a tensor; its offset, size, stride and the rest follow."""
END = "I{offset}\n(I{size}\nt(I{stride}\ntI00\nNtR."


@pytest.mark.parametrize(
    "place",
    [
        {"kind": "FloatStorage", "n": 4, "offset": 0, "size": 5, "stride": 1},
        {"kind": "FloatStorage", "n": 4, "offset": 2, "size": 2, "stride": 2},
        {"kind": "FloatStorage", "n": 4, "offset": -1, "size": 2, "stride": 1},
        {"kind": "FloatStorage", "n": 4, "offset": 0, "size": 2, "stride": -1},
        {"kind": "FloatStorage", "n": 400, "offset": 0, "size": 2, "stride": 1},
        {"kind": "DoubleStorage", "n": 4, "offset": 0, "size": 2, "stride": 1},
        {"kind": "StrangeStorage", "n": 4, "offset": 0, "size": 2, "stride": 1},
    ],
)
def test_a_tensor_lies_within_its_numbers(tmp_path, place):
    write_pickle(
        tmp_path / "file.pt", (TENSOR + END).format(**place), _0=np.arange(4.0, dtype="f4")
    )
    with pytest.raises(UserError, match=r"file.pt: expected a file that torch.save wrote"):
        read_tensors(tmp_path / "file.pt", "")
    good = {"kind": "FloatStorage", "n": 4, "offset": 1, "size": 2, "stride": 2}
    write_pickle(tmp_path / "good.pt", (TENSOR + END).format(**good), _0=np.arange(4.0, dtype="f4"))
    assert read_tensors(tmp_path / "good.pt", "").tolist() == [1, 3]


@pytest.mark.parametrize(
    "text",
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n}S'__doc__'\nS'changed'\nsb.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(N}S'__doc__'\nS'changed'\nstb.",
        b"ccollections\nOrderedDict\n}S'keys'\nI1\nsb.",
        b"ccollections\nOrderedDict\n(N}S'keys'\nI1\nstb.",
        b"cos\nsystem\n}S'origin'\nI1\nsb.",
        b"cos\nsystem\nI1\na.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"r\xff\xff\xff\xff.",
        b"Nr\xff\x00\x00\x00.",
        b"Np255\n.",
        b"",
    ],
)
def test_a_pickle_cannot_change_what_reads_it(tmp_path, text):
    write_pickle(tmp_path / "file.pt", text)
    with pytest.raises(UserError, match=r"file.pt: expected a file that torch.save wrote"):
        read_tensors(tmp_path / "file.pt", "")
    test_tensors_are_those_of_torch(tmp_path)


@pytest.mark.survives(
    "files",
    "A file of official weights is cut, empty, missing, a web page, or of an old format of torch",
    "The import stops, names the file and says to download it again",
)
@pytest.mark.parametrize("damage", ["cut", "empty", "page", "missing", "old", "compressed", "zip"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = saved(tmp_path / "file.pt", {"tensor": torch.ones(100)})
    if damage == "cut":
        os.truncate(path, path.stat().st_size - 3)
    elif damage == "empty":
        os.truncate(path, 0)
    elif damage == "page":
        path.write_text("<html>")
    elif damage == "missing":
        path.unlink()
    elif damage == "old":
        torch.save({"tensor": torch.ones(100)}, path, _use_new_zipfile_serialization=False)
    else:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        members = members if damage == "compressed" else {"file/other": b""}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    found = "compressed content" if damage == "compressed" else ".*"
    expected = f"file.pt: expected a file that torch.save wrote, found {found}; again"
    with pytest.raises(UserError, match=expected):
        read_tensors(path, "again")


@pytest.mark.survives(
    "files",
    "A small file of official weights would take more memory than there is: compressed, or of "
    "objects without end",
    "It is refused before it is unpickled",
)
@pytest.mark.parametrize("case", ["compressed", "long"])
def test_memory_is_bounded_by_the_file(tmp_path, monkeypatch, case):
    text = pickle.dumps("0" * 100_000, protocol=2)
    kind = zipfile.ZIP_DEFLATED if case == "compressed" else zipfile.ZIP_STORED
    with zipfile.ZipFile(tmp_path / "file.pt", "w", kind) as archive:
        archive.writestr("file/data.pkl", text)
    tensors = "boldvision.decoders.dynadiff_official.tensors"
    if case == "long":
        monkeypatch.setattr(f"{tensors}.LARGEST_PICKLE", 99_999)
    monkeypatch.setattr(f"{tensors}._Unpickler.load", lambda _: pytest.fail("unpickled"))
    told = {"compressed": "compressed content", "long": "more than 99999 bytes beside"}[case]
    with pytest.raises(UserError, match=f"file.pt: expected .*, found {told}"):
        read_tensors(tmp_path / "file.pt", "")


# Checkpoints of DeepSpeed


def read(folder):
    ranks = sorted(folder.glob("*_optim_states.pt"))
    return read_checkpoint(folder / "mp_rank_00_model_states.pt", ranks)


def numbers(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


GROUPS = (
    {"a": numbers(3, 5), "b": numbers(7), "c": numbers(1), "d": numbers(2, 3, 4)},
    {"e": numbers(1)},
)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_what_was_cut_into_parts_is_whole_again(tmp_path, ranks, padded):
    more = {
        "frozen": {"f": numbers(4).half()},
        "buffers": {"g": torch.ones(2)},
        "shared": {"same": "a", "of one that was not saved": "z"},
    }
    folder = write_checkpoint(tmp_path / "it", *GROUPS, ranks=ranks, padded=padded, **more)
    found = read(folder)
    expected = GROUPS[0] | GROUPS[1] | more["frozen"] | more["buffers"] | {"same": GROUPS[0]["a"]}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name].float(), value.float()), name


KEY = "single_partition_of_fp32_groups"


def parts_become(function):
    """A change of the parts that a process wrote."""

    def change(content):
        if own := content.get("optimizer_state_dict"):
            own[KEY] = function(own[KEY])

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (parts_become(lambda parts: [part[:10] for part in parts]), "numbers for parameters of 47"),
        (parts_become(lambda parts: parts[:1]), "found 2 groups of parameters, and others in zero"),
        (parts_become(lambda parts: [part.half() for part in parts]), "found parts that are no"),
        (parts_become(lambda parts: [None, None]), "found parts that are no rows of float32"),
        (
            parts_become(lambda parts: [torch.zeros(1).expand(len(part)) for part in parts]),
            "found parts that are no rows of float32",
        ),
        (lambda content: content.pop("param_shapes", 0), "found KeyError 'param_shapes'"),
        (lambda content: content.pop("optimizer_state_dict", 0), "KeyError 'optimizer_state_dict'"),
        (lambda content: content.update(buffer_names=["g"], module={"g": 1}), "found g, no tensor"),
    ],
)
def test_another_checkpoint_is_refused(tmp_path, change, told):
    folder = write_checkpoint(tmp_path / "it", *GROUPS, ranks=3, change=change)
    with pytest.raises(UserError, match=f"_states.pt: .*{told}.*; download"):
        read(folder)


@pytest.mark.survives(
    "files",
    "A checkpoint of official weights lacks a file of one process, or is of stage 3 of ZeRO",
    "The import stops, and says how many files there should be, or which stages it reads",
)
def test_an_incomplete_checkpoint_is_refused(tmp_path):
    folder = write_checkpoint(tmp_path / "it", *GROUPS, ranks=3)
    (folder / "zero_pp_rank_1_mp_rank_00_optim_states.pt").unlink()
    with pytest.raises(UserError, match=r"expected the files of 3 processes, as zero.* found 2"):
        read(folder)
    folder = write_checkpoint(tmp_path / "of_stage_3", *GROUPS, stage=3)
    with pytest.raises(UserError, match="expected a checkpoint of ZeRO's stage 1 or 2, found"):
        read(folder)
