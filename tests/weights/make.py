"""Makes the files beside it, with PyTorch: `python tests/weights/make.py`.

A generator of CycleGAN's published code in small (width 2, one block, instance norm), its numbers
given by `value`, saved as people come with them.
"""

from collections import OrderedDict
from pathlib import Path

import torch

HERE = Path(__file__).parent
CONVOLUTIONS = {
    "model.1": (2, 3, 7, 7),
    "model.4": (4, 2, 3, 3),
    "model.7": (8, 4, 3, 3),
    "model.10.conv_block.1": (8, 8, 3, 3),
    "model.10.conv_block.5": (8, 8, 3, 3),
    "model.11": (8, 4, 3, 3),
    "model.14": (4, 2, 3, 3),
    "model.18": (3, 2, 7, 7),
}
OUTPUTS = (2, 4, 8, 8, 8, 4, 2, 3)


def value(number: int, shape) -> torch.Tensor:
    """The numbers of the parameter of that number; exact in half precision, too."""
    count = torch.Size(shape).numel()
    return (((torch.arange(count) * 7 + number) % 129 - 64) / 64).reshape(shape).float()


def state_dict() -> OrderedDict:
    arrays, number = OrderedDict(), 0
    for (name, shape), outputs in zip(CONVOLUTIONS.items(), OUTPUTS, strict=True):
        for leaf, size in (("weight", shape), ("bias", (outputs,))):
            arrays[f"{name}.{leaf}"] = value(number, size)
            number += 1
    return arrays


if __name__ == "__main__":
    plain = state_dict()
    torch.save(plain, HERE / "zip.pth")

    # Four years older: DataParallel, buffers of instance norms, views, half precision, parameters.
    older = OrderedDict((f"module.{name}", tensor) for name, tensor in plain.items())
    older["module.model.2.running_mean"] = torch.zeros(2)
    older["module.model.2.running_var"] = torch.ones(2)
    older["module.model.2.num_batches_tracked"] = torch.tensor(3)
    both = torch.cat([older["module.model.1.bias"], older["module.model.4.bias"]])
    older["module.model.1.bias"], older["module.model.4.bias"] = both[:2], both[2:]
    weight = older["module.model.7.weight"]
    older["module.model.7.weight"] = weight.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    older["module.model.18.weight"] = torch.nn.Parameter(older["module.model.18.weight"].half())
    older["module.model.18.bias"] = older["module.model.18.bias"].bfloat16()
    older._metadata = OrderedDict({"": {"version": 1}})
    torch.save(older, HERE / "older.pth", _use_new_zipfile_serialization=False)

    torch.save({"epoch": 3, "state_dict": plain}, HERE / "nested.pth")
    torch.save(torch.nn.Conv2d(1, 1, 1), HERE / "network.pth")
