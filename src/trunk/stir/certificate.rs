//! Certificates of signers (RFC 8226): where they lie, and whether a signature is made with the key of one.

use super::numbers::Numbers;
use super::passport::Passport;
use super::{Flaw, Trust};
use crate::clock::Wall;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use webpki::ring::{ECDSA_P256_SHA256, ECDSA_P384_SHA384};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, ExtendedKeyUsageValidator, KeyPurposeIdIter,
    OwnedCertRevocationList, RevocationOptionsBuilder, UnknownStatusPolicy,
};

/// Where they lie, PEM where nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StirFiles {
    /// Authorities that count.
    pub authorities: PathBuf,
    /// By the URI under which signers name it: a signer's certificate first, then those that lead to its authority.
    pub certificates: BTreeMap<String, PathBuf>,
    /// Lists of certificates that their authorities have revoked (RFC 5280 section 5), PEM or DER: [`LARGEST_LIST`] each.
    pub revocations: Vec<PathBuf>,
}

/// Bytes of a file of revocations: a list of four hundred thousand certificates. For each certificate that it may name it is read
/// through once a minute.
pub const LARGEST_LIST: u64 = 16 << 20;

impl StirFiles {
    /// The files' bytes, one after the other: whoever kept them sees whether something has changed.
    pub fn bytes(&self) -> Result<Vec<Vec<u8>>, String> {
        let whole = |path: &PathBuf| std::fs::read(path).map_err(|error| told(path, &error));
        let certificates = std::iter::once(&self.authorities).chain(self.certificates.values());
        certificates.map(whole).chain(self.revocations.iter().map(|path| list(path))).collect()
    }

    /// As things stand now. Told which file cannot be read, and why.
    pub fn read(&self, now: Wall) -> Result<Trust, String> {
        let known = self.certificates.iter().map(|(uri, path)| Ok((uri.clone(), certificates(path)?)));
        let known = known.collect::<Result<HashMap<_, _>, String>>()?;
        let authorities = certificates(&self.authorities)?;
        let lists = self.revocations.iter().map(|path| revocations(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Trust::new(&authorities, known)?.less(lists.into_iter().flatten().collect()).as_of(now))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(path).map_err(|error| told(path, &error))?;
    let all: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| told(path, &error))?;
    if all.is_empty() { Err(told(path, &"no certificate is in it (-----BEGIN CERTIFICATE-----)")) } else { Ok(all) }
}

/// A file of revocations, as far as it may be read.
fn list(path: &Path) -> Result<Vec<u8>, String> {
    let mut octets = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST_LIST + 1).read_to_end(&mut octets));
    match read.map_err(|error| told(path, &error))? as u64 {
        ..=LARGEST_LIST => Ok(octets),
        _ => Err(told(path, &format_args!("a list of revocations may have {LARGEST_LIST} bytes"))),
    }
}

fn revocations(path: &Path) -> Result<Vec<CertRevocationList<'static>>, String> {
    let octets = list(path)?;
    let mut lists = CertificateRevocationListDer::pem_slice_iter(&octets);
    let mut lists = lists.by_ref().collect::<Result<Vec<_>, _>>().map_err(|error| told(path, &error))?;
    if lists.is_empty() {
        lists.push(CertificateRevocationListDer::from(octets));
    }
    let read = |list: CertificateRevocationListDer<'_>| OwnedCertRevocationList::from_der(&list).map(Into::into);
    lists.into_iter().map(read).collect::<Result<_, _>>().map_err(|error| told(path, &error))
}

fn told(path: &Path, why: &dyn fmt::Display) -> String {
    format!("{}: {why}", path.display())
}

/// A signer's certificate, then those that lead to its authority.
#[derive(Clone)]
pub(super) struct Credential {
    chain: Vec<CertificateDer<'static>>,
    /// Its own, where there is one: a certificate without a list may sign for any number.
    numbers: Option<Numbers>,
    /// Those of the others: a number that is given on must be one's own (RFC 9060).
    above: Vec<Numbers>,
    /// Whether it counts, as it was found.
    found: Result<(), Flaw>,
}

impl Credential {
    /// Told which certificate's list of numbers cannot be read.
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Result<Credential, String> {
        let numbers = |(place, certificate): (usize, &CertificateDer<'static>)| {
            Numbers::of(certificate).map_err(|why| format!("certificate {}: {why}", place + 1))
        };
        let mut lists = chain.iter().enumerate().map(numbers).collect::<Result<Vec<_>, _>>()?.into_iter();
        let (own, above) = (lists.next().flatten(), lists.flatten().collect());
        Ok(Credential { chain, numbers: own, above, found: Err(Flaw::Untrusted) })
    }

    /// The code of the provider that it belongs to.
    pub fn provider(&self) -> Option<String> {
        self.numbers.as_ref().and_then(|numbers| numbers.providers.first().cloned())
    }

    /// Finds whether it counts at this moment.
    pub fn look(&mut self, anchors: &[TrustAnchor<'static>], revocations: &[CertRevocationList<'static>], now: Wall) {
        self.found = self.end().and_then(|(own, above)| leads(&own, above, anchors, revocations, now));
    }

    /// It, and those that lead to its authority.
    fn end(&self) -> Result<(EndEntityCert<'_>, &[CertificateDer<'static>]), Flaw> {
        let (own, above) = self.chain.split_first().ok_or(Flaw::UnknownCertificate)?;
        Ok((EndEntityCert::try_from(own).map_err(|_| Flaw::Untrusted)?, above))
    }

    /// Whether it counts, and its key has signed this.
    pub fn check(&self, passport: &Passport<'_>) -> Result<(), Flaw> {
        self.found?;
        let (own, _) = self.end()?;
        let signed = own.verify_signature(ECDSA_P256_SHA256, passport.signed.as_bytes(), &passport.der());
        signed.map_err(|_| Flaw::Forged)?;
        let theirs = self.numbers.iter().chain(&self.above).all(|numbers| numbers.cover(passport.signer()));
        if theirs { Ok(()) } else { Err(Flaw::NotTheirs) }
    }
}

/// To an authority that is named here, now, with nothing on the way that was revoked.
fn leads(
    own: &EndEntityCert<'_>,
    above: &[CertificateDer<'static>],
    anchors: &[TrustAnchor<'static>],
    revocations: &[CertRevocationList<'static>],
    now: Wall,
) -> Result<(), Flaw> {
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.seconds()).unwrap_or(0)));
    let algorithms = [ECDSA_P256_SHA256, ECDSA_P384_SHA384];
    let revocations: Vec<&CertRevocationList<'static>> = revocations.iter().collect();
    let options = RevocationOptionsBuilder::new(&revocations).ok().map(|options| {
        let options = options.with_status_policy(UnknownStatusPolicy::Allow);
        options.with_expiration_policy(ExpirationPolicy::Enforce).build()
    });
    let path = own.verify_for_usage(&algorithms, anchors, above, time, AnyUsage, options, None);
    path.map(drop).map_err(|error| match error {
        webpki::Error::CertRevoked => Flaw::Revoked,
        webpki::Error::CrlExpired { .. } => Flaw::Unchecked,
        _ => Flaw::Untrusted,
    })
}

/// Certificates of telephone numbers have no purpose of those that the web knows (RFC 8226 section 4).
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}
