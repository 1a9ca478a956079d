//! Where a secret is kept.

use std::fmt;
use std::str::FromStr;

/// Where a secret is kept. Settings and store have this, never the secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretRef {
    /// A file of its own; white space about it does not count.
    File(String),
    /// A variable of the environment.
    Env(String),
}

impl FromStr for SecretRef {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<SecretRef, &'static str> {
        const EXPECTED: &str = "expected where the secret is, \"file:/PATH\" or \"env:NAME\", not the secret itself";
        match text.split_once(':') {
            Some(("file", path)) if path.starts_with('/') && !path.contains('\0') => Ok(SecretRef::File(path.into())),
            Some(("env", name)) if is_variable(name) => Ok(SecretRef::Env(name.into())),
            _ => Err(EXPECTED),
        }
    }
}

fn is_variable(name: &str) -> bool {
    let begins_well = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    begins_well && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::File(path) => write!(f, "file:{path}"),
            SecretRef::Env(name) => write!(f, "env:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_named_and_not_written() {
        for good in ["file:/etc/tollbridge/hook", "env:HOOK_SECRET", "env:_x1"] {
            assert_eq!(good.parse::<SecretRef>().unwrap().to_string(), good);
        }
        for bad in ["", "hunter2", "file:relative", "file:", "env:", "env:1x", "env:A-B", "http://x", "file:/a\0b"] {
            assert!(bad.parse::<SecretRef>().is_err(), "{bad}");
        }
    }
}
