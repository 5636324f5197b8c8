"""Files of weights: PyTorch's two formats without PyTorch, and files that mean harm."""

import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxgan import state_dicts
from jaxgan.errors import UserError

FILES = Path(__file__).parent / "weights"


def value(number, shape):
    """As weights/make.py has it."""
    count = np.arange(np.prod(shape, dtype=int))
    return (((count * 7 + number) % 129 - 64) / 64).reshape(shape).astype(np.float32)


@pytest.mark.parametrize("name", ["zip", "older", "nested"])
def test_what_pytorch_saved(name):
    """Views, transposed and half-precision tensors, parameters, DataParallel's names."""
    arrays = state_dicts.read(FILES / f"{name}.pth")
    parameters = [n for n in arrays if n.endswith((".weight", ".bias"))]
    assert len(parameters) == 16
    for number, parameter in enumerate(parameters):
        array = arrays[parameter]
        assert np.array_equal(array.astype(np.float32), value(number, array.shape)), parameter
    assert arrays["model.4.weight"].shape == (4, 2, 3, 3)
    if name == "older":
        assert str(arrays["model.18.bias"].dtype) == "bfloat16"
        assert arrays["model.2.num_batches_tracked"] == 3
        assert np.array_equal(arrays["model.2.running_var"], [1, 1])


def test_safetensors_there_and_back(tmp_path):
    arrays = {"b": np.arange(6.0).reshape(2, 3).T, "a": np.float32(2) * np.ones((1, 2, 3, 4))}
    (tmp_path / "x.safetensors").write_bytes(state_dicts.to_safetensors(arrays))
    back = state_dicts.read(tmp_path / "x.safetensors")
    assert set(back) == {"a", "b"}
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        assert np.array_equal(back[name], array)


class Harm:
    """Writes a file when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def zipped(pickled: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    return out.getvalue()


def older(pickled: bytes) -> bytes:
    begin = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    return b"".join(pickle.dumps(x, 2) for x in begin) + pickled + pickle.dumps([], 2)


def opcodes(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls module.name(argument), for what can't be pickled by name."""
    return f"c{module}\n{name}\n(V{argument}\ntR.".encode()


@pytest.mark.parametrize("container", [zipped, older, bytes], ids=["zip", "older", "bare"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_file_that_would_run_a_command(tmp_path, container, protocol):
    command = f"echo harm > {tmp_path}/harm"
    (tmp_path / "mine").write_text("mine")
    for harm in (
        Harm(os.system, command),
        Harm(eval, f"open('{tmp_path}/harm', 'w')"),
        Harm(subprocess.check_output, command, None, True),
        {"model.1.weight": Harm(os.remove, str(tmp_path / "mine"))},
    ):
        file = tmp_path / "x.pth"
        file.write_bytes(container(pickle.dumps(harm, protocol)))
        with pytest.raises(UserError, match=r"is refused: it asks for \w+\.\w+, which could run"):
            state_dicts.read(file)
    assert not (tmp_path / "harm").exists()
    assert (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch", "load"),
        ("torch", "storage._load_from_bytes"),
        ("torch.storage", "_load_from_bytes"),
        ("torch.FloatStorage", "__class__"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("collections", "OrderedDict.__class__"),
        ("numpy", "load"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("builtins", "getattr"),
        ("_codecs", "encode"),
    ],
)
def test_only_what_is_listed_can_be_asked_for(tmp_path, module, name):
    (tmp_path / "x.pth").write_bytes(zipped(opcodes(module, name, "x")))
    with pytest.raises(UserError, match="it asks for"):
        state_dicts.read(tmp_path / "x.pth")


def tensor(storage: str, numel: int, *arguments: str) -> bytes:
    """A pickle of {"a": a tensor} whose rebuilding is given as opcodes."""
    pid = f"(Vstorage\nctorch\n{storage}\nV0\nVcpu\nI{numel}\ntQ"
    rebuild = f"ctorch._utils\n_rebuild_tensor_v2\n({pid}{''.join(arguments)}I00\nN"
    return f"(dVa\n{rebuild}tRs.".encode()


def with_numbers(pickled: bytes, numbers: bytes) -> bytes:
    out = io.BytesIO(zipped(pickled))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("archive/data/0", numbers)
    return out.getvalue()


def test_a_tensor_by_hand(tmp_path):
    """What the next test damages."""
    numbers = np.arange(6, dtype=np.float32).tobytes()
    good = tensor("FloatStorage", 6, "I1\n", "(I2\nI2\nt", "(I2\nI1\nt")
    (tmp_path / "x.pth").write_bytes(with_numbers(good, numbers))
    assert np.array_equal(state_dicts.read(tmp_path / "x.pth")["a"], [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "parts",
    [
        ("FloatStorage", 6, "I1\n", "(I2\nI3\nt", "(I3\nI1\nt"),  # one number past the end
        ("FloatStorage", 6, "I-1\n", "(I2\nt", "(I1\nt"),
        ("FloatStorage", 6, "I0\n", "(I2\nt", "(I-1\nt"),
        ("FloatStorage", 6, "I0\n", "(I1000000000\nt", "(I0\nt"),  # 4 GB of one number
        ("FloatStorage", 7, "I0\n", "(I7\nt", "(I1\nt"),  # more than the file holds
        ("FloatStorage", 6, "I0\n", "(I2\nt", "(I1\nI1\nt"),
        ("FloatStorage", 6, "Vx\n", "(I2\nt", "(I1\nt"),
        ("Size", 6, "I0\n", "(I2\nt", "(I1\nt"),
    ],
)
def test_tensors_that_lie_outside_of_their_numbers(tmp_path, parts):
    numbers = np.arange(6, dtype=np.float32).tobytes()
    (tmp_path / "x.pth").write_bytes(with_numbers(tensor(*parts), numbers))
    with pytest.raises(UserError, match="can't be read as weights"):
        state_dicts.read(tmp_path / "x.pth")


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(b"Nr\xff\xff\xff\x7f.", id="a place in a table of 2 billion"),
        pytest.param(b"}" + b"(" * 10**5 + b"K\x01" + b"t" * 10**5 + b"Ns.", id="a deep key"),
        pytest.param(b"}K\x01" + b"q\x00h\x00\x86" * 40 + b"Ns.", id="a key of 2^40 parts"),
        pytest.param(b"X\xff\xff\xff\x7fa.", id="a text of 2 GB"),
    ],
)
def test_small_files_that_would_fill_the_memory(tmp_path, bomb):
    (tmp_path / "x.pth").write_bytes(zipped(bomb))
    with pytest.raises(UserError, match="can't be read as weights"):
        state_dicts.read(tmp_path / "x.pth")


def test_tensors_that_share_numbers(tmp_path):
    """Tied weights are fine; a thousand tensors of the same megabyte aren't."""
    one = tensor("FloatStorage", 1000, "I0\n", "(I1000\nt", "(I1\nt")
    body = one[len(b"(d") : -len(b".")]
    for copies, fine in ((2, True), (100, False)):
        names = [body.replace(b"Va\n", b"Va%d\n" % i) for i in range(copies)]
        pickled = b"(d" + b"".join(names) + b"."
        (tmp_path / "x.pth").write_bytes(with_numbers(pickled, bytes(4000)))
        if fine:
            assert len(state_dicts.read(tmp_path / "x.pth")) == 2
        else:
            with pytest.raises(UserError, match="larger than the file"):
                state_dicts.read(tmp_path / "x.pth")


def test_what_a_pickle_changes_is_gone_with_it(tmp_path):
    """Attributes set on a function that a file named don't reach the next file."""
    poison = b"ctorch._utils\n_rebuild_tensor_v2\n(N}V__defaults__\n(I1\ntstb."
    (tmp_path / "x.pth").write_bytes(zipped(poison))
    with pytest.raises(UserError):
        state_dicts.read(tmp_path / "x.pth")
    test_a_tensor_by_hand(tmp_path)


@pytest.mark.parametrize("keep", [0, 1, 100, 2000, -1])
@pytest.mark.parametrize("name", ["zip.pth", "older.pth", "x.safetensors"])
def test_files_cut_short(tmp_path, name, keep):
    if name == "x.safetensors":
        whole = state_dicts.to_safetensors({"a": np.ones(1000)})
    else:
        whole = (FILES / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:keep])
    with pytest.raises(UserError, match="can't be read as weights"):
        state_dicts.read(tmp_path / name)


def test_other_files(tmp_path):
    def refused(name, content, words):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError) as error:
            state_dicts.read(tmp_path / name)
        assert words in str(error.value)

    refused("x.pth", b"\x89PNG", "it should be a whole .safetensors file, or a .pth file")
    refused("x.pth", zipped(pickle.dumps({"epoch": 3})), "one state dict and holds 0")
    refused("x.pth", zipped(pickle.dumps([1])), "one state dict and holds 0")
    refused("x.safetensors", struct.pack("<Q", 10**12) + b"{}", "header too large")
    with pytest.raises(UserError, match="save a network's state_dict"):
        state_dicts.read(FILES / "network.pth")
    with pytest.raises(UserError, match="is a folder"):
        state_dicts.read(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        state_dicts.read(tmp_path / "absent.pth")


def test_pytorch_is_never_imported():
    script = (
        "import sys; sys.modules['torch'] = None; from jaxgan import state_dicts; "
        f"assert len(state_dicts.read({str(FILES / 'zip.pth')!r})) == 16"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
