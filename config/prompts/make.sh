#!/usr/bin/env bash
# Makes every sound a caller may hear: the prompts of each language from <language>/prompts.tsv with the
# voice of <language>/voice.scm, and the sounds of common/. Run again at will: the same texts give the same bytes.
#
#   make.sh             all languages and common/
#   make.sh it common   only these
set -euo pipefail
cd "$(dirname "$0")"

packages=(festival festvox-us-slt-hts festvox-italp16k sox python3)

install_missing() {
    local package missing=()
    for package in "${packages[@]}"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# Festival reads Latin 1. The final newline ends its last sentence.
say() { # language text file
    local pace='()' # of a sentence: as voice.scm says. A word by itself is said slower, a short one slower still
    [[ $2 == *' '* ]] || pace="(Parameter.set 'Duration_Stretch $([ ${#2} -le 4 ] && echo 1.8 || echo 1.4))"
    printf '%s\n' "$2" | iconv -f UTF-8 -t ISO-8859-1 > "$work/text"
    text2wave "$work/text" -o "$work/said.wav" -eval "$1/voice.scm" -eval "$pace"
    [ -s "$work/said.wav" ] || { echo "$1: the voice said nothing for: $2" >&2; return 1; }
    # A synthesiser at full scale has clipped, or wrapped: make its voice softer in voice.scm.
    sox "$work/said.wav" -n stats 2>&1 | awk '/^Pk lev/ { exit $4 > -0.5 }' || { echo "$1: too loud: $2" >&2; return 1; }
    # Down to 8 kHz and into the telephone band, with 6 dB of room for the filters' overshoot.
    sox -D "$work/said.wav" -b 32 -t wavpcm "$work/band.wav" gain -6 rate -v 8000 sinc -a 60 -t 60 100-3600 -t 200
    PYTHONDONTWRITEBYTECODE=1 python3 sound.py speech "$work/band.wav" "$work/done.wav"
    mv "$work/done.wav" "$3"
}

speak() { # language
    local name text
    while IFS=$'\t' read -r name text; do
        say "$1" "$text" "$1/$name.wav" < /dev/null
    done < "$1/prompts.tsv"
    echo "$1: $(wc -l < "$1/prompts.tsv") prompts"
}

install_missing
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

[ $# -gt 0 ] || set -- common */prompts.tsv
for what in "$@"; do
    if [ "$what" = common ]; then
        mkdir -p common
        PYTHONDONTWRITEBYTECODE=1 python3 sound.py common common
        echo "common: $(ls common/*.wav | wc -l) sounds"
    else
        speak "${what%/prompts.tsv}"
    fi
done
