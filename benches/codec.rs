//! What a frame of 20 ms costs, by codec and rate. Goals on one core of 2.6 GHz: G.711 within 150 ns, G.722 within 5 µs,
//! the resampler within 3 µs. Opus is libopus's to judge: its figures are what a leg is planned with.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use tollbridge::media::codec::comfort::{Noise, PAYLOAD_MOST, Study};
use tollbridge::media::codec::resample::Resampler;
use tollbridge::media::codec::{Decoder, Encoder, Settings};
use tollbridge::media::{Codec, Rate};

/// A second of a hummed voice, over and over.
struct Voice {
    sound: Vec<i16>,
    frame: usize,
    at: usize,
}

impl Voice {
    fn new(rate: Rate) -> Voice {
        let time = |i: usize| std::f64::consts::TAU * i as f64 / f64::from(rate.hz());
        let hum = |t: f64| (1..20).map(|n| (130.0 * t * f64::from(n)).sin() / f64::from(n)).sum::<f64>();
        let sample = |i: usize| 5_000.0 * hum(time(i)) * (1.2 + (3.0 * time(i)).sin());
        let sound = (0..rate.samples(1_000)).map(|i| sample(i) as i16).collect();
        Voice { sound, frame: rate.samples(20), at: 0 }
    }

    fn next(&mut self) -> &[i16] {
        self.at = (self.at + self.frame) % self.sound.len();
        &self.sound[self.at..self.at + self.frame]
    }
}

fn codecs(c: &mut Criterion) {
    let own = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::L16(Rate::Wide)].map(|codec| (codec, codec.rate()));
    for (codec, rate) in own.into_iter().chain(Rate::ALL.map(|rate| (Codec::Opus, rate))) {
        let (name, mut voice, mut line) = (format!("{codec:?} at {} Hz", rate.hz()), Voice::new(rate), [0; 1_500]);
        let mut encoder = Encoder::new(codec, rate, Settings::default());
        c.bench_function(&format!("{name}: encode"), |b| b.iter(|| black_box(encoder.encode(voice.next(), &mut line))));
        let packets: Vec<Vec<u8>> = (0..50)
            .map(|_| {
                let octets = encoder.encode(voice.next(), &mut line);
                line[..octets].to_vec()
            })
            .collect();
        let (mut decoder, mut out, mut beat) = (Decoder::new(codec, rate), [0; 960], 0);
        c.bench_function(&format!("{name}: decode"), |b| {
            b.iter(|| {
                beat = (beat + 1) % packets.len();
                black_box(decoder.decode(&packets[beat], &mut out))
            });
        });
        if codec == Codec::Opus {
            let out = &mut out[..rate.samples(20)];
            c.bench_function(&format!("{name}: conceal"), |b| b.iter(|| black_box(decoder.conceal(out))));
            c.bench_function(&format!("{name}: copy"), |b| b.iter(|| black_box(decoder.fec(&packets[9], out))));
        }
    }
}

fn rates(c: &mut Criterion) {
    for from in Rate::ALL {
        for to in Rate::ALL.into_iter().filter(|to| *to != from) {
            let (mut resampler, mut voice, mut out) = (Resampler::new(from, to), Voice::new(from), [0; 960]);
            c.bench_function(&format!("resample {} to {} Hz", from.hz(), to.hz()), |b| {
                b.iter(|| black_box(resampler.run(voice.next(), &mut out)));
            });
        }
    }
}

fn comfort(c: &mut Criterion) {
    let (mut noise, mut study, mut out) = (Noise::new(1), Study::new(true), [0; 160]);
    noise.describe(&[50, 100, 140]);
    c.bench_function("comfort noise: make a frame", |b| b.iter(|| noise.fill(black_box(&mut out))));
    let mut payload = [0; PAYLOAD_MOST];
    c.bench_function("comfort noise: judge a frame", |b| b.iter(|| study.hear(black_box(&out), 20, &mut payload)));
}

criterion_group!(benches, codecs, rates, comfort);
criterion_main!(benches);
