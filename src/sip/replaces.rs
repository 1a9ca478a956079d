//! One call in the place of another (RFC 3891): which one an INVITE names, and whether it could take its place.

use super::Call;
use super::dialog::{Dialog, Entry};
use super::endpoint::Endpoint;
use super::gate::Objection;
use super::lexer::split_commas;
use super::message::Request;
use super::session::Stage;

/// What an INVITE with Replaces comes to, as far as the dialogs say. Whether the two are of one carrier is our owner's to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The call that it names; `None`: there is none.
    pub call: Option<Call>,
    /// The final response, where it cannot take that call's place.
    pub refusal: Option<u16>,
}

/// The dialog that a Replaces header names.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    call_id: String,
    /// Ours, and theirs.
    to_tag: String,
    from_tag: String,
    /// Only as long as it rings.
    early_only: bool,
}

/// RFC 3891 section 3: one header, and none of Join (RFC 3911) beside it.
fn named(request: &Request) -> Result<Option<Named>, Objection> {
    let Some(value) = request.header("Replaces") else { return Ok(None) };
    let bad = || Objection::new(400).because("Bad Replaces");
    if request.header("Join").is_some() || split_commas(value).count() != 1 {
        return Err(bad());
    }
    let mut words = value.split(';').map(str::trim);
    let call_id = words.next().filter(|word| !word.is_empty()).ok_or_else(bad)?.to_owned();
    let (mut to_tag, mut from_tag, mut early_only) = (None, None, false);
    for word in words {
        let (name, value) = word.split_once('=').map_or((word, ""), |(name, value)| (name.trim(), value.trim()));
        let slot = match name.to_ascii_lowercase().as_str() {
            "to-tag" => &mut to_tag,
            "from-tag" => &mut from_tag,
            "early-only" => {
                early_only = true;
                continue;
            }
            _ => continue,
        };
        if value.is_empty() || slot.replace(value.to_owned()).is_some() {
            return Err(bad());
        }
    }
    let (to_tag, from_tag) = to_tag.zip(from_tag).ok_or_else(bad)?;
    Ok(Some(Named { call_id, to_tag, from_tag, early_only }))
}

/// The Replaces header by which the far side of a call is told of it, from the call's journal line; `None` where that is of no
/// answered call.
pub fn replaces_of(journal: &str) -> Option<String> {
    let Dialog { call_id, local_tag, remote, .. } = Entry::read(journal)?.dialog;
    Some(format!("{call_id};to-tag={};from-tag={local_tag}", remote.tag()?))
}

impl Endpoint {
    /// What an INVITE names to take the place of, if it does.
    pub(in crate::sip) fn replacement(&self, invite: &Request) -> Result<Option<Replacement>, Objection> {
        let Some(Named { call_id, to_tag, from_tag, early_only }) = named(invite)? else { return Ok(None) };
        let found = self.dialogs.get(&(call_id, to_tag)).and_then(|call| self.sessions.get(call));
        let Some(session) = found.filter(|session| session.is_with(Some(&from_tag))) else {
            return Ok(Some(Replacement { call: None, refusal: Some(481) }));
        };
        let refusal = match session.stage {
            // It rings here: only whoever called may give that up.
            Stage::Invited { .. } => Some(481),
            // It rings there, for somebody who waits: nobody else takes it.
            Stage::Calling(_) => Some(603),
            Stage::Up { parting: None } => early_only.then_some(486),
            Stage::Up { .. } | Stage::Ending => Some(603),
        };
        Ok(Some(Replacement { call: Some(session.call), refusal }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Framing, Message};
    use super::*;
    use bytes::Bytes;

    fn read(lines: &str) -> Result<Option<Named>, u16> {
        let text = format!(
            "INVITE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nFrom: <sip:b@h>;tag=1\r\nTo: <sip:a@h>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:b@h>\r\n{lines}Content-Length: 0\r\n\r\n"
        );
        match Message::parse(&Bytes::from(text), Framing::Datagram) {
            Ok(Message::Request(request)) => named(&request).map_err(|objection| objection.status),
            Ok(Message::Response(_)) => panic!(),
            // Twice in one message is refused before anybody asks what it means.
            Err(_) => Err(400),
        }
    }

    #[test]
    fn what_a_replaces_header_names() {
        let some = |early_only| {
            let [call_id, to_tag, from_tag] = ["x@y", "7", "8"].map(str::to_owned);
            Ok(Some(Named { call_id, to_tag, from_tag, early_only }))
        };
        let rows = [
            ("", Ok(None)),
            ("Replaces: x@y;to-tag=7;from-tag=8\r\n", some(false)),
            ("Replaces: x@y ; from-tag=8 ; To-Tag = 7;colour=red\r\n", some(false)),
            ("Replaces: x@y;to-tag=7;from-tag=8;early-only\r\n", some(true)),
            ("Replaces: x@y;to-tag=7\r\n", Err(400)),
            ("Replaces: x@y;to-tag=7;from-tag=\r\n", Err(400)),
            ("Replaces: x@y;to-tag=7;from-tag=8;to-tag=9\r\n", Err(400)),
            ("Replaces: ;to-tag=7;from-tag=8\r\n", Err(400)),
            ("Replaces: x@y;to-tag=7;from-tag=8, z;to-tag=1;from-tag=2\r\n", Err(400)),
            ("Replaces: x@y;to-tag=7;from-tag=8\r\nReplaces: z;to-tag=1;from-tag=2\r\n", Err(400)),
            ("Replaces: x@y;to-tag=7;from-tag=8\r\nJoin: z;to-tag=1;from-tag=2\r\n", Err(400)),
            ("Join: z;to-tag=1;from-tag=2\r\n", Ok(None)),
        ];
        for (lines, expected) in rows {
            assert_eq!(read(lines), expected, "{lines:?}");
        }
    }
}
