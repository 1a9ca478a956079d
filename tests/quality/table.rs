//! All cases with all seeds, judged and set out as a table.

use super::lab::{CASES, Case, ceiling, judge, quantile, run, speech, write};
use std::fmt;
use tollbridge::media::Codec;

/// What callers speak with, as [`Network::opus`](super::lab::Network::opus) counts.
const CODECS: [Codec; 2] = [Codec::Pcmu, Codec::Opus];

pub struct Row {
    case: &'static Case,
    /// What the codec alone leaves.
    ceiling: f64,
    /// MOS-LQO: median and worst of all seeds.
    median: f64,
    worst: f64,
    delay_ms: f64,
    high_ms: f64,
    concealed: f64,
}

impl Row {
    fn is_met(&self) -> bool {
        self.median >= self.ceiling - self.case.below
            && self.delay_ms <= self.case.median_ms
            && self.high_ms <= self.case.high_ms
    }
}

pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Names of the cases that do not reach what they must.
    pub fn missed(&self) -> Vec<&'static str> {
        self.rows.iter().filter(|row| !row.is_met()).map(|row| row.case.name).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<20}{:>8}{:>8}{:>8}{:>8}{:>8}{:>10}{:>8}{:>12}  met",
            "MOS-LQO", "ceiling", "median", "worst", "below", "may", "added ms", "p99", "made up %"
        )?;
        for row in &self.rows {
            let met = if row.is_met() { "yes" } else { "NO" };
            writeln!(
                f,
                "{:<20}{:>8.3}{:>8.3}{:>8.3}{:>8.3}{:>8.2}{:>10.1}{:>8.1}{:>12.2}  {met}",
                row.case.name,
                row.ceiling,
                row.median,
                row.worst,
                row.ceiling - row.median,
                row.case.below,
                row.delay_ms,
                row.high_ms,
                row.concealed
            )?;
        }
        Ok(())
    }
}

/// Runs the cases (all, or those whose name holds `only`) with `seeds` seeds each.
pub fn measure(seeds: u64, only: Option<&str>, keep: bool) -> Result<Report, String> {
    let mut folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    folder.disable_cleanup(keep);
    let speech = speech();
    write(&folder.path().join("speech.wav"), &speech);
    let mut names = Vec::new();
    for codec in CODECS {
        names.push(format!("ceiling-{}.wav", codec.name()));
        write(&folder.path().join(names.last().unwrap()), &ceiling(&speech, codec));
    }
    let mut rows = Vec::new();
    for case in CASES.iter().filter(|case| only.is_none_or(|only| case.name.contains(only))) {
        let (mut delays, mut concealed) = (Vec::new(), 0);
        for seed in 1..=seeds {
            let heard = run(&speech, &case.network, seed);
            let name = format!("{}-{seed}.wav", case.name.replace(' ', "_"));
            write(&folder.path().join(&name), &heard.sound);
            names.push(name);
            concealed += heard.stats.concealed_ms;
            delays.extend(heard.delays_ms);
        }
        let concealed = concealed as f64 / (speech.len() as u64 / 8 * seeds) as f64 * 100.0;
        let (delay_ms, high_ms) = (quantile(&mut delays, 0.5), quantile(&mut delays, 0.99));
        rows.push(Row { case, ceiling: 0.0, median: 0.0, worst: 0.0, delay_ms, high_ms, concealed });
    }
    let figures = judge(folder.path(), &names)?;
    let (ceilings, rest) = figures.split_first_chunk::<2>().ok_or("no figures")?;
    for (row, figures) in rows.iter_mut().zip(rest.chunks_exact(seeds as usize)) {
        row.ceiling = ceilings[usize::from(row.case.network.opus)];
        let mut figures = figures.to_vec();
        (row.median, row.worst) = (quantile(&mut figures, 0.5), quantile(&mut figures, 0.0));
    }
    if keep {
        eprintln!("{}", folder.path().display());
    }
    Ok(Report { rows })
}
