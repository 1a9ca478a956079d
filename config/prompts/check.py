#!/usr/bin/env python3
"""Measures every sound a caller may hear, prints a table, and exits 1 if one is not as it must be.

    check.py            every language folder beside this file, and common/

Python's own library is enough. sound.py makes the sounds with the same ruler (`active_rms`).
"""
import math
import pathlib
import sys
import wave
from array import array

RATE = 8000
FULL = 32768.0
SPEECH_DBFS = -20.0
SPEECH_SLACK_DB = 1.5
PEAK_DBFS = -3.0
SHORTEST_S = 0.15
EDGE = 200  # a first or last sample beyond this is heard as a click
SILENCE_DBFS = -50.0
SILENCE_FRAMES = 6  # of 10 ms: a prompt starts and ends within 60 ms of its speech

# name: (shortest s, longest s, active level dBFS). The gaps of a cadence and the loop of the music are silence on purpose.
COMMON = {
    "music": (20.0, 30.0, -26.0),
    "entry": (0.15, 0.5, -22.0),
    "exit": (0.15, 0.4, -22.0),
    "warning": (0.15, 0.6, -20.0),
    "ringback": (5.0, 5.0, -20.0),
    "busy": (2.0, 2.0, -20.0),
    "recording": (0.15, 0.25, -26.0),
}


def dbfs(level):
    return 20 * math.log10(max(level, 1e-3) / FULL)


def powers(samples, length):
    """Mean square of each whole stretch of `length` samples."""
    whole = range(0, max(len(samples) - length, 0) + 1, length)
    return [sum(x * x for x in samples[at:at + length]) / length for at in whole]


def active_rms(samples):
    """Level of the sounding parts alone: pauses are left out as ITU-T P.56 does, 15.9 dB below the level itself."""
    frames = powers(samples, RATE // 50)
    level = sum(frames) / len(frames)
    for _ in range(50):
        sounding = [p for p in frames if p >= level / 10 ** 1.59]
        louder = sum(sounding) / len(sounding)
        if math.isclose(louder, level, rel_tol=1e-9):
            break
        level = louder
    return math.sqrt(level)


def rms(samples):
    return math.sqrt(sum(x * x for x in samples) / len(samples))


def silence(samples):
    """Silent frames of 10 ms before the first sounding one."""
    frames = powers(samples, RATE // 100)
    return next((n for n, p in enumerate(frames) if dbfs(math.sqrt(p)) > SILENCE_DBFS), len(frames))


def read(path):
    with wave.open(str(path), "rb") as file:
        shape = (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getcomptype())
        samples = array("h", file.readframes(file.getnframes()))
    if sys.byteorder == "big":
        samples.byteswap()
    return shape, samples


def faults(name, shape, samples, common):
    if shape != (1, 2, RATE, "NONE"):
        return [f"format {shape}"]
    seconds = len(samples) / RATE
    if seconds <= SHORTEST_S:
        return [f"only {seconds:.2f} s"]
    found = []
    if dbfs(max(map(abs, samples))) > PEAK_DBFS:
        found.append("peak")
    if abs(samples[0]) >= EDGE or abs(samples[-1]) >= EDGE:
        found.append(f"edge {samples[0]} {samples[-1]}")
    if abs(sum(samples) / len(samples)) > 8:
        found.append("DC")
    if common:
        shortest, longest, target = COMMON[name]
        if not shortest <= seconds <= longest:
            found.append(f"length not {shortest} to {longest} s")
    else:
        target = SPEECH_DBFS
        if silence(samples) > SILENCE_FRAMES or silence(samples[::-1]) > SILENCE_FRAMES:
            found.append("silence at an end")
    measure = rms if name == "music" else active_rms
    if abs(dbfs(measure(samples)) - target) > SPEECH_SLACK_DB:
        found.append(f"level not {target:.0f}")
    return found


def names(folder):
    rows = [line.split("\t") for line in (folder / "prompts.tsv").read_text("utf-8").splitlines()]
    bad = [row for row in rows if len(row) != 2 or not all(row)]
    if bad:
        sys.exit(f"{folder.name}/prompts.tsv: not 'name TAB text': {bad[0]}")
    listed = [row[0] for row in rows]
    twice = {name for name in listed if listed.count(name) > 1}
    if twice:
        sys.exit(f"{folder.name}/prompts.tsv: twice: {', '.join(sorted(twice))}")
    return listed


def main():
    here = pathlib.Path(__file__).resolve().parent
    wanted = {file.parent.name: names(file.parent) for file in sorted(here.glob("*/prompts.tsv"))}
    every = set().union(*wanted.values())
    wrong = bytes_ = 0

    def fault(text):
        nonlocal wrong
        wrong += 1
        print(f"FAULT  {text}")

    for language in ("en", "it"):
        if language not in wanted:
            fault(f"no language {language}")
    for language, listed in wanted.items():
        for name in sorted(every - set(listed)):
            fault(f"{language}/prompts.tsv has no {name}")
    print(f"{'sound':<32}{'s':>7}{'peak':>8}{'active':>8}{'first':>7}{'last':>6}")
    for folder, listed in [*wanted.items(), ("common", list(COMMON))]:
        there = {path.stem for path in (here / folder).glob("*.wav")}
        for name in sorted(there - set(listed)):
            fault(f"{folder}/{name}.wav is in no list")
        for name in listed:
            path = here / folder / f"{name}.wav"
            try:
                shape, samples = read(path)
            except (OSError, EOFError, wave.Error) as why:
                fault(f"{folder}/{name}.wav: {why}")
                continue
            bytes_ += path.stat().st_size
            found = faults(name, shape, samples, folder == "common")
            if samples:
                print(f"{folder + '/' + name:<32}{len(samples) / RATE:7.2f}{dbfs(max(map(abs, samples))):8.1f}"
                      f"{dbfs(active_rms(samples)) if len(samples) >= RATE // 50 else 0:8.1f}{samples[0]:7}{samples[-1]:6}"
                      f"  {', '.join(found)}".rstrip())
            for text in found:
                fault(f"{folder}/{name}.wav: {text}")
    print(f"{sum(map(len, wanted.values())) + len(COMMON)} sounds, {bytes_ / 1e6:.1f} MB, {wrong} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
