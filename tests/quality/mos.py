#!/usr/bin/env python3
"""MOS-LQO (ITU-T P.862 with the mapping of P.862.1, narrowband) of WAV files against speech.wav.

Usage: mos.py FOLDER NAME...   prints one figure a line, in the order of the names.
"""
import sys
import wave
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy
from pesq import pesq


def sound(path):
    with wave.open(str(path)) as wav:
        assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (8000, 1, 2), path
        return numpy.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2")


def mos(folder, name):
    return pesq(8000, sound(folder / "speech.wav"), sound(folder / name), "nb")


if __name__ == "__main__":
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    with ProcessPoolExecutor() as pool:
        for figure in pool.map(partial(mos, folder), names):
            print(f"{figure:.4f}")
