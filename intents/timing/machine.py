"""The machine and the library versions behind a latency figure."""

import os
import platform
from importlib.metadata import version
from typing import Any

import cpuinfo
import psutil

# What decides the speed of int8 and bfloat16 arithmetic on x86 and Arm.
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm")
LIBRARIES = ("torch", "transformers", "onnxruntime", "onnx", "tokenizers", "numpy")


def describe(threads: int) -> dict[str, Any]:
    """CPU, its flags, cores, memory, threads per answer, operating system and versions."""
    info = cpuinfo.get_cpu_info()
    flags = set(info.get("flags", []))
    return {
        "cpu": info.get("brand_raw", platform.processor() or platform.machine()),
        "cpu_flags": [flag for flag in FLAGS if flag in flags],
        "int8_dot_product": bool(flags & {"avx512_vnni", "avx_vnni", "asimddp", "i8mm"}),  # VNNI, or what Arm has
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "threads": threads,
        "os": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }
