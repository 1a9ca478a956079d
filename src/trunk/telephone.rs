//! What kind of telephone calls, as the network says it: a call from a payphone or a mobile costs whoever is called toll-free
//! more.

/// A kind of telephone, where it matters to a price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Telephone {
    #[default]
    Ordinary,
    Mobile,
    Payphone,
}

impl Telephone {
    /// By originating line information (the two digits of the North American numbering plan's ANI II, in SIP `isup-oli` or
    /// `oli`) and calling party's category (`cpc`, of the same words in every draft that names them). A payphone is one
    /// whichever of the two says so.
    pub fn of(line: Option<u8>, category: Option<&str>) -> Telephone {
        let by_line = match line {
            // Coin; prison; coin of a private owner; and 07, which is a payphone that wants an operator.
            Some(7 | 27 | 29 | 70) => Telephone::Payphone,
            // Cellular with the caller's own number, with a roamer's, and personal communications.
            Some(61..=63) => Telephone::Mobile,
            _ => Telephone::Ordinary,
        };
        let by_category = match category.map(str::to_ascii_lowercase).as_deref() {
            Some("payphone" | "prison") => Telephone::Payphone,
            Some("cellular" | "cellular-roaming") => Telephone::Mobile,
            _ => Telephone::Ordinary,
        };
        match (by_line, by_category) {
            (Telephone::Payphone, _) | (_, Telephone::Payphone) => Telephone::Payphone,
            (Telephone::Mobile, _) | (_, Telephone::Mobile) => Telephone::Mobile,
            _ => Telephone::Ordinary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_network_says() {
        use Telephone::{Mobile, Ordinary, Payphone};
        let rows = [
            (None, None, Ordinary),
            (Some(0), None, Ordinary),
            (Some(7), None, Payphone),
            (Some(27), None, Payphone),
            (Some(29), None, Payphone),
            (Some(70), Some("ordinary"), Payphone),
            (Some(61), None, Mobile),
            (Some(62), None, Mobile),
            (Some(63), Some("Payphone"), Payphone),
            (Some(64), None, Ordinary),
            (None, Some("cellular-roaming"), Mobile),
            (Some(0), Some("prison"), Payphone),
            (None, Some("hotel"), Ordinary),
        ];
        for (line, category, expected) in rows {
            assert_eq!(Telephone::of(line, category), expected, "{line:?} {category:?}");
        }
    }
}
