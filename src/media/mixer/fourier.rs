//! The transform of real sound: a power of two of samples into half as many frequencies, and back.

use std::f32::consts::TAU;

/// The tables of one size. It takes no memory after it is made.
#[derive(Clone, Debug)]
pub struct Fourier {
    /// Points of the complex transform inside: half the samples.
    half: usize,
    /// Cosines and sines of the whole circle in `2 * half` steps, half of them.
    cosine: Box<[f32]>,
    sine: Box<[f32]>,
    /// Where each point goes before the first step: its index with the bits turned over.
    turned: Box<[u32]>,
}

/// `half + 1` frequencies, from none to half the rate.
#[derive(Clone, Debug)]
pub struct Spectrum {
    pub re: Box<[f32]>,
    pub im: Box<[f32]>,
}

impl Fourier {
    /// `size`: a power of two, at least 4.
    pub fn new(size: usize) -> Fourier {
        let half = size / 2;
        let angle = |step: usize| TAU * step as f32 / size as f32;
        let bits = half.trailing_zeros();
        Fourier {
            half,
            cosine: (0..half).map(|step| angle(step).cos()).collect(),
            sine: (0..half).map(|step| angle(step).sin()).collect(),
            turned: (0..half as u32).map(|index| index.reverse_bits() >> (32 - bits)).collect(),
        }
    }

    pub fn spectrum(&self) -> Spectrum {
        let zeros = || vec![0.0; self.half + 1].into_boxed_slice();
        Spectrum { re: zeros(), im: zeros() }
    }

    pub fn forward(&self, sound: &[f32], out: &mut Spectrum) {
        for (index, pair) in sound.chunks_exact(2).take(self.half).enumerate() {
            (out.re[index], out.im[index]) = (pair[0], pair[1]);
        }
        self.complex(&mut out.re[..self.half], &mut out.im[..self.half]);
        (out.re[self.half], out.im[self.half]) = (out.re[0], out.im[0]);
        self.split(out, -1.0);
    }

    /// `spectrum` is used up.
    pub fn inverse(&self, spectrum: &mut Spectrum, sound: &mut [f32]) {
        self.split(spectrum, 1.0);
        // Backwards is forwards with the sines turned round.
        let (re, im) = (&mut spectrum.re[..self.half], &mut spectrum.im[..self.half]);
        im.iter_mut().for_each(|im| *im = -*im);
        self.complex(re, im);
        let scale = 1.0 / self.half as f32;
        for (pair, (re, im)) in sound.chunks_exact_mut(2).zip(re.iter().zip(im.iter())) {
            (pair[0], pair[1]) = (re * scale, -im * scale);
        }
    }

    /// Even samples were taken for real parts and odd ones for imaginary parts: takes the two apart (`sign` -1) or puts
    /// them together (1).
    fn split(&self, spectrum: &mut Spectrum, sign: f32) {
        let (re, im, half) = (&mut spectrum.re, &mut spectrum.im, self.half);
        for low in 0..=half / 2 {
            let high = half - low;
            let even = ((re[low] + re[high]) / 2.0, (im[low] - im[high]) / 2.0);
            let odd = ((re[low] - re[high]) / 2.0, (im[low] + im[high]) / 2.0);
            // At the middle, the angle is a quarter of the circle, which the table still has.
            let (cosine, sine) = (self.cosine[low], sign * self.sine[low]);
            // The odd half, times a turn and times -i or i.
            let turned = (odd.0 * cosine - odd.1 * sine, odd.0 * sine + odd.1 * cosine);
            let turned = (-sign * turned.1, sign * turned.0);
            (re[low], im[low]) = (even.0 + turned.0, even.1 + turned.1);
            (re[high], im[high]) = (even.0 - turned.0, turned.1 - even.1);
        }
    }

    /// Radix 2, decimation in time.
    fn complex(&self, re: &mut [f32], im: &mut [f32]) {
        for (index, turned) in self.turned.iter().enumerate() {
            let turned = *turned as usize;
            if index < turned {
                re.swap(index, turned);
                im.swap(index, turned);
            }
        }
        let mut span = 1;
        while span < self.half {
            let stride = self.half / span;
            for (re, im) in re.chunks_exact_mut(2 * span).zip(im.chunks_exact_mut(2 * span)) {
                let ((re_low, re_high), (im_low, im_high)) = (re.split_at_mut(span), im.split_at_mut(span));
                let low = re_low.iter_mut().zip(im_low);
                let high = re_high.iter_mut().zip(im_high);
                let turns = self.cosine.iter().zip(&self.sine).step_by(stride);
                for (((a, b), (c, d)), (cosine, sine)) in low.zip(high).zip(turns) {
                    let turned = (*c * cosine + *d * sine, *d * cosine - *c * sine);
                    (*c, *d) = (*a - turned.0, *b - turned.1);
                    (*a, *b) = (*a + turned.0, *b + turned.1);
                }
            }
            span *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn it_is_the_sum_by_definition_and_comes_back(bits in 2..9u32, seed in any::<u32>()) {
            let size = 1usize << bits;
            let sound: Vec<f32> = (0..size as u32).map(|i| (i.wrapping_mul(seed | 1) >> 7) as i16 as f32).collect();
            let fourier = Fourier::new(size);
            let mut spectrum = fourier.spectrum();
            fourier.forward(&sound, &mut spectrum);
            for k in 0..=size / 2 {
                let turn = |i: usize| -std::f64::consts::TAU * (i * k % size) as f64 / size as f64;
                let re: f64 = sound.iter().enumerate().map(|(i, s)| f64::from(*s) * turn(i).cos()).sum();
                let im: f64 = sound.iter().enumerate().map(|(i, s)| f64::from(*s) * turn(i).sin()).sum();
                prop_assert!((re - f64::from(spectrum.re[k])).abs() < 8.0, "{} {} {}", k, re, spectrum.re[k]);
                prop_assert!((im - f64::from(spectrum.im[k])).abs() < 8.0, "{} {} {}", k, im, spectrum.im[k]);
            }
            let mut back = vec![0.0; size];
            fourier.inverse(&mut spectrum, &mut back);
            for (one, other) in sound.iter().zip(&back) {
                prop_assert!((one - other).abs() < 0.5);
            }
        }
    }
}
