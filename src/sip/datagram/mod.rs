//! Datagrams: whose turn is first, and the reading of them.

pub mod io;

/// Whether a datagram looks like a call that is new: an INVITE whose To has no tag. No more than a look: it says whose turn
/// comes first, not what the message is.
pub fn is_new_call(datagram: &[u8]) -> bool {
    let is_to = |line: &&[u8]| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii();
        name.eq_ignore_ascii_case(b"To") || name.eq_ignore_ascii_case(b"t")
    };
    let mut lines = datagram.split(|byte| *byte == b'\n').take_while(|line| !line.trim_ascii().is_empty());
    lines.next().is_some_and(|line| line.starts_with(b"INVITE "))
        && lines.find(is_to).is_some_and(|to| !to.windows(5).any(|part| part.eq_ignore_ascii_case(b";tag=")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_looks_new_until_its_other_end_has_a_tag() {
        let rows = [
            ("INVITE sip:a@h SIP/2.0\r\nTo: <sip:a@h>\r\n\r\n", true),
            ("INVITE sip:a@h SIP/2.0\r\nFrom: <sip:b@h>;tag=1\r\nt : <sip:a@h>\r\nl: 6\r\n\r\n;tag=1", true),
            ("INVITE sip:a@h SIP/2.0\r\nTo: <sip:a@h>;Tag=2\r\n\r\n", false),
            ("INVITE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\nTo: <sip:a@h>\r\n", false),
            ("BYE sip:a@h SIP/2.0\r\nTo: <sip:a@h>\r\n\r\n", false),
            ("SIP/2.0 200 OK\r\nTo: <sip:a@h>\r\nCSeq: 1 INVITE\r\n\r\n", false),
            ("INVITE ", false),
            ("", false),
        ];
        for (datagram, new) in rows {
            assert_eq!(is_new_call(datagram.as_bytes()), new, "{datagram}");
        }
    }
}
