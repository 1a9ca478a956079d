//! Whom SIP may listen to, and by which name and password a carrier and we know each other.

use super::{Output, Switchboard};
use crate::sip::{self, Asked, Login};
use crate::trunk::{Algorithm, Carrier, Challenge, Source};

impl Switchboard {
    /// Who has to prove something comes first: at no moment is somebody heard who should have been asked.
    pub(super) fn tell_sources(&mut self) {
        let advertised = self.config.udp.filter(|(bound, advertised)| bound != advertised).map(|(_, shown)| shown);
        let of = |carrier: &Carrier, source: &Source| sip::Source {
            network: source.network,
            prefix_len: source.prefix_len,
            port: source.port,
            advertise: carrier.advertise.or(advertised),
            old_syntax: carrier.old_syntax,
        };
        let facts = self.facts.clone();
        let mut asked = Vec::new();
        let mut sources = Vec::new();
        for carrier in facts.directory.carriers() {
            let from: Vec<sip::Source> = carrier.places().map(|source| of(carrier, &source)).collect();
            let challenge = carrier.digest.as_ref().map(|digest| (digest.challenge, digest.algorithm));
            if let (Some((challenge @ (Challenge::Calls | Challenge::All), algorithm)), Some(login)) =
                (challenge, self.login_of(carrier))
            {
                asked.push(Asked {
                    login,
                    from: from.clone(),
                    options: challenge == Challenge::All,
                    sha256: algorithm != Algorithm::Md5,
                    md5: algorithm != Algorithm::Sha256,
                });
            }
            sources.extend(from);
        }
        self.say(Output::Sip(sip::Command::Asked(asked)));
        self.say(Output::Sip(sip::Command::Sources(sources)));
    }

    /// The name and password of a carrier, if it has one.
    pub(super) fn login_of(&self, carrier: &Carrier) -> Option<Login> {
        let digest = carrier.digest.as_ref()?;
        Some(Login {
            owner: carrier.id.to_string(),
            username: digest.username.clone(),
            password: self.passwords.get(&digest.password).cloned(),
            realm: digest.realm.clone(),
        })
    }
}
