//! Prompts as sound: the embedded ones, or a folder's.

use crate::media::Clip;
use crate::meeting::Prompt;
use crate::types::Language;
use rust_embed::RustEmbed;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

#[derive(RustEmbed)]
#[folder = "config/prompts"]
struct Embedded;

/// The folder of sounds that are the same in every language.
const COMMON: &str = "common";

/// A prompt that is missing, or is no sound.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {why}")]
pub struct BadSound {
    pub file: String,
    pub why: String,
}

/// A prompt, ready or nearly so.
#[derive(Debug)]
enum Kept {
    Read(Arc<Clip>),
    /// In the binary, and read when it is first played: to read all at the start took 11.8 of 25.3 MiB that an idle
    /// bridge held, once as pages of the binary and once as samples. `None` where it is no sound, which a test excludes.
    Embedded(&'static [u8], OnceLock<Option<Arc<Clip>>>),
}

impl Kept {
    fn read(file: &[u8]) -> Result<Kept, String> {
        Clip::from_wav(file).map(|clip| Kept::Read(Arc::new(clip))).map_err(|error| error.to_string())
    }

    fn clip(&self) -> Option<Arc<Clip>> {
        match self {
            Kept::Read(clip) => Some(clip.clone()),
            Kept::Embedded(file, clip) => clip.get_or_init(|| Clip::from_wav(file).ok().map(Arc::new)).clone(),
        }
    }
}

/// All prompts of all languages.
#[derive(Debug, Default)]
pub struct Sounds {
    clips: HashMap<(Option<Language>, Prompt), Kept>,
    languages: Vec<Language>,
}

impl Sounds {
    /// Those inside the binary.
    pub fn embedded() -> Result<Sounds, Vec<BadSound>> {
        let files: Vec<String> = Embedded::iter().map(|file| file.into_owned()).collect();
        let folders = files.iter().filter_map(|file| file.split_once('/')).map(|(folder, _)| folder.to_owned());
        Sounds::load(folders.collect(), |file| match Embedded::get(file).map(|found| found.data) {
            Some(Cow::Borrowed(inside)) => Ok(Kept::Embedded(inside, OnceLock::new())),
            // A debug build reads the folder.
            Some(Cow::Owned(read)) => Kept::read(&read),
            None => Err("missing".to_owned()),
        })
    }

    /// Those of a folder, laid out as `config/prompts` is. Every language in it must be whole.
    pub fn of_folder(folder: &Path) -> Result<Sounds, Vec<BadSound>> {
        let entries = std::fs::read_dir(folder)
            .map_err(|error| vec![BadSound { file: folder.display().to_string(), why: error.to_string() }])?;
        let names = entries.flatten().filter(|e| e.path().is_dir()).filter_map(|e| e.file_name().into_string().ok());
        Sounds::load(names.collect(), |file| {
            let bytes = std::fs::read(folder.join(file)).map_err(|error| error.to_string())?;
            Kept::read(&bytes)
        })
    }

    /// No sound at all: for simulations, which hear nothing.
    pub fn silent() -> Sounds {
        Sounds::default()
    }

    fn load(mut folders: Vec<String>, read: impl Fn(&str) -> Result<Kept, String>) -> Result<Sounds, Vec<BadSound>> {
        folders.sort();
        folders.dedup();
        let languages = folders.iter().filter_map(|folder| folder.parse().ok()).collect();
        let mut sounds = Sounds { clips: HashMap::new(), languages };
        let mut faults = Vec::new();
        if sounds.languages.is_empty() {
            faults.push(BadSound { file: COMMON.into(), why: "there is no language beside it".into() });
        }
        let numbers = (0..=Prompt::HIGHEST).map(Prompt::Number);
        for prompt in Prompt::ALL.iter().copied().chain(numbers) {
            let places: Vec<Option<Language>> = match prompt.is_common() {
                true => vec![None],
                false => sounds.languages.iter().copied().map(Some).collect(),
            };
            for place in places {
                let folder = place.as_ref().map_or(COMMON, |language| language.as_str());
                let file = format!("{folder}/{}.wav", prompt.stem());
                match read(&file) {
                    Ok(kept) => drop(sounds.clips.insert((place, prompt), kept)),
                    Err(why) => faults.push(BadSound { file, why }),
                }
            }
        }
        if faults.is_empty() { Ok(sounds) } else { Err(faults) }
    }

    /// The clips of what is to be said, in `language` or, where there is no such, in English or the first there is.
    pub fn clips(&self, prompts: &[Prompt], language: Language) -> Vec<Arc<Clip>> {
        let spoken = [language, Language::ENGLISH].into_iter().find(|language| self.languages.contains(language));
        let spoken = spoken.or(self.languages.first().copied());
        let place = |prompt: &Prompt| if prompt.is_common() { None } else { spoken };
        prompts.iter().filter_map(|prompt| self.clips.get(&(place(prompt), *prompt))?.clip()).collect()
    }

    pub fn languages(&self) -> &[Language] {
        &self.languages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prompt_is_in_the_binary_in_every_language() {
        let sounds = Sounds::embedded().unwrap_or_else(|faults| panic!("{faults:?}"));
        assert_eq!(sounds.languages(), ["en".parse().unwrap(), "it".parse().unwrap()]);
        for (place, kept) in &sounds.clips {
            assert!(kept.clip().is_some_and(|clip| clip.millis() > 0), "{place:?}");
        }
        let said = [Prompt::WarningTone, Prompt::CreditOneMinute];
        assert_eq!(sounds.clips(&said, "it".parse().unwrap()).len(), 2);
        assert_eq!(sounds.clips(&said, "fi".parse().unwrap()), sounds.clips(&said, Language::ENGLISH));
    }

    #[test]
    fn a_folder_that_is_not_whole_says_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("en")).unwrap();
        let faults = Sounds::of_folder(folder.path()).unwrap_err();
        assert_eq!(faults.len(), Prompt::ALL.len() + 21);
        assert!(faults.iter().any(|fault| fault.to_string().starts_with("en/welcome.wav: ")), "{faults:?}");
    }
}
