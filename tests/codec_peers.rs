//! ffmpeg as a peer: what we code it hears, what it codes we hear. G.722 and Opus, by pipes and files alone.

use std::fs;
use std::path::Path;
use std::process::Command;
use tollbridge::media::codec::{Decoder, Encoder, Settings};
use tollbridge::media::{Codec, Rate};

const SECONDS: usize = 2;

fn ffmpeg(folder: &Path, arguments: &str) {
    let run = Command::new("ffmpeg")
        .current_dir(folder)
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"])
        .args(arguments.split_whitespace())
        .output()
        .expect("ffmpeg (Debian: ffmpeg; tests/run installs it)");
    assert!(run.status.success(), "ffmpeg {arguments}: {}", String::from_utf8_lossy(&run.stderr));
}

/// A tone of 500 Hz that swells.
fn voice(rate: Rate) -> Vec<i16> {
    let turn = std::f64::consts::TAU / f64::from(rate.hz());
    let swell = |i: f64| 6_000.0 * (1.5 + (2.0 * turn * i).sin());
    (0..rate.samples(1_000 * SECONDS)).map(|i| (swell(i as f64) * (500.0 * turn * i as f64).sin()) as i16).collect()
}

fn write(path: &Path, sound: &[i16]) {
    fs::write(path, sound.iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<_>>()).unwrap();
}

fn read(path: &Path) -> Vec<i16> {
    fs::read(path).unwrap().chunks_exact(2).map(|octets| i16::from_le_bytes([octets[0], octets[1]])).collect()
}

/// How near `heard` is to `said`, in dB, at the delay (up to 60 ms) at which it is nearest.
fn nearness(said: &[i16], heard: &[i16], rate: Rate) -> f64 {
    let (from, count) = (rate.samples(200), rate.samples(1_200));
    let power = |sound: &mut dyn Iterator<Item = f64>| sound.map(|s| s * s).sum::<f64>();
    let voice = power(&mut said[from..from + count].iter().map(|s| f64::from(*s)));
    let error = |delay: usize| {
        let pairs = said[from..from + count].iter().zip(&heard[from + delay..]);
        power(&mut pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)))
    };
    let least = (0..rate.samples(60)).map(error).fold(f64::MAX, f64::min);
    10.0 * (voice / least).log10()
}

fn encoded(codec: Codec, rate: Rate, sound: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(codec, rate, Settings { bitrate: 40_000, ..Settings::default() });
    let mut line = [0; 1_500];
    let mut packet = |frame: &[i16]| {
        let octets = encoder.encode(frame, &mut line);
        line[..octets].to_vec()
    };
    sound.chunks_exact(rate.samples(20)).map(&mut packet).collect()
}

fn decoded<'a>(codec: Codec, rate: Rate, packets: impl Iterator<Item = &'a [u8]>) -> Vec<i16> {
    let (mut decoder, mut out) = (Decoder::new(codec, rate), [0; 5_760]);
    let mut sound = Vec::new();
    for packet in packets {
        let samples = decoder.decode(packet, &mut out).expect("a packet that ffmpeg made");
        sound.extend_from_slice(&out[..samples]);
    }
    sound
}

#[test]
fn g722_is_understood_both_ways() {
    let home = tempfile::tempdir().unwrap();
    let (folder, said) = (home.path(), voice(Rate::Wide));
    let line = encoded(Codec::G722, Rate::Wide, &said).concat();
    fs::write(folder.join("ours.g722"), &line).unwrap();
    ffmpeg(folder, "-f g722 -i ours.g722 -f s16le heard.raw");
    // Decoding is exact: theirs of our line is ours of our line.
    assert_eq!(read(&folder.join("heard.raw")), decoded(Codec::G722, Rate::Wide, line.chunks(160)));
    write(&folder.join("said.raw"), &said);
    ffmpeg(folder, "-f s16le -ar 16000 -ac 1 -i said.raw -c:a g722 -f g722 theirs.g722");
    let theirs = fs::read(folder.join("theirs.g722")).unwrap();
    let near = nearness(&said, &decoded(Codec::G722, Rate::Wide, theirs.chunks(160)), Rate::Wide);
    assert!(near > 20.0, "{near} dB");
}

#[test]
fn opus_is_understood_both_ways() {
    let home = tempfile::tempdir().unwrap();
    for rate in Rate::ALL {
        let (folder, said) = (home.path(), voice(rate));
        fs::write(folder.join("ours.opus"), ogg(&encoded(Codec::Opus, rate, &said))).unwrap();
        ffmpeg(folder, &format!("-i ours.opus -ar {} -ac 1 -f s16le heard.raw", rate.hz()));
        let near = nearness(&said, &read(&folder.join("heard.raw")), rate);
        assert!(near > 8.0, "theirs of ours at {} Hz: {near} dB", rate.hz());
        write(&folder.join("said.raw"), &said);
        let code = format!("-f s16le -ar {} -ac 1 -i said.raw -c:a libopus -application voip", rate.hz());
        ffmpeg(folder, &format!("{code} -b:a 40k -frame_duration 20 theirs.opus"));
        let theirs = unogg(&fs::read(folder.join("theirs.opus")).unwrap());
        let near = nearness(&said, &decoded(Codec::Opus, rate, theirs.iter().skip(2).map(Vec::as_slice)), rate);
        assert!(near > 8.0, "ours of theirs at {} Hz: {near} dB", rate.hz());
    }
}

/// An Ogg file (RFC 3533, RFC 7845) of one packet a page.
fn ogg(packets: &[Vec<u8>]) -> Vec<u8> {
    let head = [&b"OpusHead\x01\x01"[..], &[0, 0], &48_000_u32.to_le_bytes(), &[0, 0, 0]].concat();
    let tags = [&b"OpusTags"[..], &4_u32.to_le_bytes(), b"test", &0_u32.to_le_bytes()].concat();
    let mut file = page(2, 0, 0, &head);
    file.extend(page(0, 0, 1, &tags));
    for (i, packet) in packets.iter().enumerate() {
        let last = if i + 1 == packets.len() { 4 } else { 0 };
        file.extend(page(last, 960 * (i as u64 + 1), i as u32 + 2, packet));
    }
    file
}

fn page(kind: u8, position: u64, number: u32, packet: &[u8]) -> Vec<u8> {
    let mut page = [&b"OggS\0"[..], &[kind], &position.to_le_bytes(), &7_u32.to_le_bytes()].concat();
    page.extend(number.to_le_bytes());
    page.extend([0; 4]);
    page.push((packet.len() / 255 + 1) as u8);
    page.extend(vec![255; packet.len() / 255]);
    page.push((packet.len() % 255) as u8);
    page.extend(packet);
    let sum = page.iter().fold(0_u32, |sum, octet| {
        (0..8).fold(
            sum ^ u32::from(*octet) << 24,
            |sum, _| if sum >> 31 == 1 { sum << 1 ^ 0x04c1_1db7 } else { sum << 1 },
        )
    });
    page[22..26].copy_from_slice(&sum.to_le_bytes());
    page
}

/// The packets of an Ogg file of one stream.
fn unogg(mut file: &[u8]) -> Vec<Vec<u8>> {
    let (mut packets, mut packet) = (Vec::new(), Vec::new());
    while !file.is_empty() {
        assert_eq!(&file[..4], b"OggS");
        let (sizes, mut body) = file[27..].split_at(usize::from(file[26]));
        for size in sizes {
            packet.extend_from_slice(&body[..usize::from(*size)]);
            body = &body[usize::from(*size)..];
            if *size < 255 {
                packets.push(std::mem::take(&mut packet));
            }
        }
        file = body;
    }
    packets
}
