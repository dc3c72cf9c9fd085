"""Reading safetensors checkpoints with numpy alone, as exact float64."""
import glob
import json
import struct

import numpy as np

FLOATS = {"F64", "F32", "F16", "BF16"}


class Tensor:
    def __init__(self, dtype, shape, raw):
        self.dtype, self.shape, self.raw = dtype, tuple(shape), raw

    @staticmethod
    def of(values, dtype, shape):
        """Of float64 values that the dtype has."""
        if dtype == "BF16":
            raw = (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        else:
            raw = values.astype({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype]).tobytes()
        return Tensor(dtype, shape, raw)

    def values(self):
        """Flat float64 values; exact, since every dtype here is narrower."""
        if self.dtype == "BF16":
            bits = np.frombuffer(self.raw, "<u2").astype("<u4") << 16
            return bits.view("<f4").astype("f8")
        kind = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}.get(self.dtype, "u1")
        return np.frombuffer(self.raw, kind).astype("f8")


def load(folder):
    """All tensors of a folder: name -> Tensor. Also checks the containers."""
    tensors = {}
    for path in sorted(glob.glob(folder + "/*.safetensors")):
        data = open(path, "rb").read()
        (size,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + size])
        end = 0
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            first, last = entry["data_offsets"]
            assert first == end, f"{path}: hole before {name}"
            assert name not in tensors, f"{path}: {name} twice"
            end = last
            raw = data[8 + size + first : 8 + size + last]
            tensors[name] = Tensor(entry["dtype"], entry["shape"], raw)
        assert 8 + size + end == len(data), f"{path}: length"
    return tensors


def round_to(values, dtype):
    """Float64 to a dtype, once, to nearest even; back as float64."""
    if dtype == "F64":
        return values
    with np.errstate(over="ignore"):
        if dtype in ("F32", "F16"):
            return values.astype("f4" if dtype == "F32" else "f2").astype("f8")
    # BF16: scale so that the eighth bit is the unit, round, scale back.
    mantissa, exponent = np.frexp(values)
    exponent = np.maximum(exponent, -125)
    return np.ldexp(np.rint(np.ldexp(values, 8 - exponent)), exponent - 8)


def ulp(values, dtype):
    """Distance of neighbours at each value."""
    bits, least = {"F64": (53, -1021), "F32": (24, -125), "F16": (11, -13), "BF16": (8, -125)}[dtype]
    exponent = np.maximum(np.frexp(np.abs(values))[1], least)
    return np.ldexp(1.0, exponent - bits)
