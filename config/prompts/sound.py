#!/usr/bin/env python3
"""Shapes what the synthesiser said, and plays what no voice says.

    sound.py speech IN.wav OUT.wav    IN: mono, 32 bit, 8 kHz, already in the telephone band
    sound.py common FOLDER            music, entry, exit, warning, ringback, busy, recording

Python's own library is enough; the same input gives the same bytes.
"""
import math
import pathlib
import sys
import wave
from array import array

from check import FULL, RATE, SILENCE_DBFS, SPEECH_DBFS, active_rms, dbfs, powers, rms

CEILING = FULL * 10 ** (-3.2 / 20)
PAUSE_FRAMES = 45  # of 10 ms: the longest pause between two sentences
LEAD_FRAMES, TAIL_FRAMES = 3, 5  # of 10 ms, kept before and after the speech: soft consonants live there
FADE = RATE * 5 // 1000
LOOK = RATE * 5 // 1000


def amplitude(level_dbfs):
    return FULL * 10 ** (level_dbfs / 20)


def write(path, samples):
    whole = array("h", (max(-32768, min(32767, round(x))) for x in samples))
    if sys.byteorder == "big":
        whole.byteswap()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(whole.tobytes())


def rise(n, length):
    """Raised cosine from 0 to 1."""
    return 1.0 if n >= length else 0.5 - 0.5 * math.cos(math.pi * n / length)


def faded(samples, length):
    last = len(samples) - 1
    return [x * rise(n, length) * rise(last - n, length) for n, x in enumerate(samples)]


def scaled(samples, target_dbfs, measure=active_rms):
    gain = amplitude(target_dbfs) / measure(samples)
    return [x * gain for x in samples]


# speech


def read_wide(path):
    with wave.open(str(path), "rb") as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 4, RATE):
            sys.exit(f"{path}: not mono, 32 bit, {RATE} Hz")
        samples = array("i", file.readframes(file.getnframes()))
    if sys.byteorder == "big":
        samples.byteswap()
    return [x / 65536 for x in samples]


def centred(samples):
    mean = sum(samples) / len(samples)
    return [x - mean for x in samples]


def trimmed(samples):
    frame = RATE // 100
    loud = [n for n, p in enumerate(powers(samples, frame)) if dbfs(math.sqrt(p)) > SILENCE_DBFS]
    return samples[max(loud[0] - LEAD_FRAMES, 0) * frame:(loud[-1] + 1 + TAIL_FRAMES) * frame]


def brisk(samples):
    """Cuts the middle out of every longer pause, and joins what is left over 5 ms."""
    frame = RATE // 100
    loud = [n for n, p in enumerate(powers(samples, frame)) if dbfs(math.sqrt(p)) > SILENCE_DBFS]
    out, kept = [], 0
    for before, after in zip(loud, loud[1:]):
        if after - before - 1 <= PAUSE_FRAMES:
            continue
        cut, resume = (before + 1 + PAUSE_FRAMES // 2) * frame, (after - PAUSE_FRAMES + PAUSE_FRAMES // 2) * frame
        out += samples[kept:cut - FADE]
        out += [samples[cut - FADE + n] * (1 - rise(n, FADE)) + samples[resume - FADE + n] * rise(n, FADE) for n in range(FADE)]
        kept = resume
    return out + samples[kept:]


def limited(samples):
    """Turns peaks down before they come, so that the wave keeps its shape; nothing is clipped."""
    need = [min(1.0, CEILING / max(abs(x), 1.0)) for x in samples]
    if min(need) == 1.0:
        return samples
    count = len(need)
    held = [min(need[max(n - LOOK, 0):n + LOOK + 1]) for n in range(count)]
    window = [0.5 + 0.5 * math.cos(math.pi * k / (LOOK + 1)) for k in range(-LOOK, LOOK + 1)]
    total = sum(window)
    edge = [held[0]] * LOOK + held + [held[-1]] * LOOK
    return [x * sum(w * edge[n + k] for k, w in enumerate(window)) / total for n, x in enumerate(samples)]


def speech(samples):
    samples = brisk(trimmed(scaled(centred(samples), SPEECH_DBFS)))
    for _ in range(8):  # turning peaks down costs a little level: give it back
        samples = limited(scaled(samples, SPEECH_DBFS))
    return faded(centred(samples), FADE)


# tones


def tone(hertz, seconds, edge_s=0.01):
    count = round(seconds * RATE)
    return faded([math.sin(2 * math.pi * hertz * n / RATE) for n in range(count)], round(edge_s * RATE))


def bell(hertz, seconds):
    """A soft struck note. Nearly one frequency alone, so that nobody's detector takes it for a key."""
    count = round(seconds * RATE)
    wave_ = (math.sin(2 * math.pi * hertz * n / RATE) + 0.04 * math.sin(4 * math.pi * hertz * n / RATE) for n in range(count))
    struck = [x * math.exp(-5.0 * n / RATE) for n, x in enumerate(wave_)]
    return [x * rise(n, RATE // 125) * rise(count - 1 - n, RATE // 25) for n, x in enumerate(struck)]


def pause(seconds):
    return [0.0] * round(seconds * RATE)


# music: eight bars of slow broken chords and a few notes above them, written for this bridge

BAR_S = 3.0
EIGHTH_S = BAR_S / 8
CHORDS = [  # MIDI notes, low to high; each bar walks up and back down
    (43, 55, 59, 62, 66),  # G maj 7
    (40, 55, 59, 62, 67),  # E min 7
    (48, 55, 60, 64, 67),  # C
    (50, 57, 62, 64, 67),  # D sus
    (47, 54, 59, 62, 66),  # B min
    (48, 55, 59, 64, 67),  # C maj 7
    (45, 55, 60, 64, 69),  # A min 7
    (50, 57, 60, 66, 69),  # D 7, which asks for the first bar again
]
WALK = (0, 1, 2, 3, 4, 3, 2, 3)
MELODY = [  # (bar, eighth, MIDI note)
    (0, 2, 74), (0, 6, 71), (1, 2, 76), (1, 5, 74), (2, 2, 79), (2, 6, 76), (3, 2, 74), (3, 4, 69),
    (4, 2, 78), (4, 6, 74), (5, 2, 76), (5, 4, 74), (5, 6, 71), (6, 2, 72), (6, 6, 76), (7, 2, 74), (7, 4, 72),
]


def pluck(note, strength):
    """A nylon string: a soft attack, upper partials that die first. Partials outside the telephone band are left out."""
    hertz = 440 * 2 ** ((note - 69) / 12)
    count = round(2.8 * RATE)
    out = [0.0] * count
    for k in range(1, 9):
        partial = hertz * k * (1 + 0.0003 * k * k)
        if not 100 < partial < 3400:
            continue
        height = strength * abs(math.sin(0.23 * math.pi * k)) / k ** 1.5
        decay = (1.1 + 0.5 * k) * (hertz / 300) ** 0.3
        turn = 2 * math.pi * partial / RATE
        for n in range(count):
            out[n] += height * math.exp(-decay * n / RATE) * math.sin(turn * n)
    return [x * rise(n, RATE // 125) * rise(count - 1 - n, RATE // 4) for n, x in enumerate(out)]


def music():
    """A ring: what sounds past the end goes on at the beginning, so the loop has no seam."""
    ring = [0.0] * round(len(CHORDS) * BAR_S * RATE)
    played = {}

    def play(bar, eighth, note, strength):
        if (note, strength) not in played:
            played[note, strength] = pluck(note, strength)
        at = round((bar * 8 + eighth) * EIGHTH_S * RATE)
        for n, x in enumerate(played[note, strength]):
            ring[(at + n) % len(ring)] += x

    for bar, chord in enumerate(CHORDS):
        for eighth, string in enumerate(WALK):
            play(bar, eighth, chord[string], 1.0 if eighth == 0 else 0.62)
    for bar, eighth, note in MELODY:
        play(bar, eighth, note, 0.8)
    echo = round(2.0 / 3 * EIGHTH_S * RATE)
    room = [x + 0.22 * ring[n - echo] + 0.10 * ring[n - 2 * echo] for n, x in enumerate(ring)]
    room = scaled(centred(room), -26.0, rms)
    # The cut goes where the ring is quietest, just before the first chord.
    start = min(range(-RATE // 10, 0), key=lambda n: abs(room[n - 1]) + abs(room[n]) + abs(room[n + 1]))
    return room[start:] + room[:start]


def common(folder):
    write(folder / "music.wav", music())
    write(folder / "entry.wav", scaled(bell(587.33, 0.18) + bell(880.0, 0.28), -22.0))
    write(folder / "exit.wav", scaled(bell(880.0, 0.15) + bell(587.33, 0.23), -22.0))
    write(folder / "warning.wav", scaled(tone(950, 0.2) + pause(0.15) + tone(950, 0.2), -20.0))
    write(folder / "ringback.wav", scaled(tone(425, 1.0), -20.0) + pause(4.0))
    write(folder / "busy.wav", (scaled(tone(425, 0.5), -20.0) + pause(0.5)) * 2)
    # The tone of 47 CFR 64.501: 1400 Hz for a fifth of a second, each 15 s.
    write(folder / "recording.wav", scaled(tone(1400, 0.2), -26.0))


def main(arguments):
    match arguments:
        case ["speech", source, target]:
            write(target, speech(read_wide(source)))
        case ["common", folder]:
            common(pathlib.Path(folder))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
