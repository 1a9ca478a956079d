//! What a request asks for (RFC 3261 section 7.1).

use std::fmt;

macro_rules! methods {
    ($($name:ident $text:literal;)*) => {
        /// The word that opens a request. Compared with regard to case: `invite` is an extension, not INVITE.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Method {
            $($name,)*
            /// An extension that we do not know, as it was written: answered 501.
            Other(String),
        }

        impl Method {
            /// The methods that have a name of their own here.
            pub const KNOWN: &'static [Method] = &[$(Method::$name,)*];

            pub fn as_str(&self) -> &str {
                match self {
                    $(Method::$name => $text,)*
                    Method::Other(text) => text,
                }
            }

            /// From a token that has been checked.
            pub(in crate::sip) fn from_token(text: &str) -> Method {
                match text {
                    $($text => Method::$name,)*
                    other => Method::Other(other.to_owned()),
                }
            }
        }
    };
}

methods! {
    Invite "INVITE";
    Ack "ACK";
    Bye "BYE";
    Cancel "CANCEL";
    Options "OPTIONS";
    Register "REGISTER";
    Update "UPDATE";
    Info "INFO";
    Prack "PRACK";
    Subscribe "SUBSCRIBE";
    Notify "NOTIFY";
    Refer "REFER";
    Message "MESSAGE";
    Publish "PUBLISH";
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_escapes_make_another_method() {
        for method in Method::KNOWN {
            assert_eq!(Method::from_token(method.as_str()), *method);
            let lower = method.as_str().to_lowercase();
            assert_eq!(Method::from_token(&lower), Method::Other(lower));
        }
        assert_eq!(Method::from_token("RE%47IST%45R").to_string(), "RE%47IST%45R");
    }
}
