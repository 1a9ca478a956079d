//! Numbers as people and carriers write them, brought to the one form that permission, price and routing share; and
//! back to what a carrier wants to read. Whatever is not surely one number is refused: a guess here is a call that
//! was permitted as one number and dialled as another.

use crate::types::E164;
use crate::types::e164::BadNumber;
use std::fmt;
use std::str::FromStr;

/// Longest text looked at: 15 digits with separators and parameters fit well, a flood does not.
const MAX_TEXT: usize = 128;

/// Fewer digits, with the country code, are no subscriber's number: emergency and service numbers stop here.
/// (The shortest national plans, of Niue and St Helena, make 7.)
const MIN_DIGITS: usize = 7;

/// Digits of every number under country code 1 (ITU-T E.164 annex, North American Numbering Plan).
const NANP_DIGITS: usize = 11;

/// Country codes whose national numbers keep their first 0 when called from abroad: Italy, San Marino.
const KEEPS_ZERO: [&str; 2] = ["39", "378"];

/// How digits without `+` are to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum DialPlan {
    /// With the country code in front, or behind `00`.
    #[default]
    International,
    /// As within a country: what does not begin with the international prefix is a number of that country.
    National { country_code: String, trunk_prefix: String, international_prefix: String },
    /// Behind a prefix that means nothing to us (a tech prefix, a routing prefix), taken off where it stands.
    Behind(String, Box<DialPlan>),
}

/// How a carrier wants to read a number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum WrittenAs {
    /// `+390612345678`
    #[default]
    Plus,
    /// `390612345678`
    Bare,
    /// As dialled within a country: its own numbers nationally, others behind the international prefix.
    National(DialPlan),
    /// A tech or routing prefix, then the number as that says.
    Prefixed(String, Box<WrittenAs>),
}

impl DialPlan {
    /// The plan of North America: ten digits, `1` before a long-distance call, `011` before a foreign one.
    pub fn nanp() -> DialPlan {
        DialPlan::national("1", "1", "011")
    }

    pub fn national(country_code: &str, trunk_prefix: &str, international_prefix: &str) -> DialPlan {
        DialPlan::National {
            country_code: country_code.to_owned(),
            trunk_prefix: trunk_prefix.to_owned(),
            international_prefix: international_prefix.to_owned(),
        }
    }

    /// The one number that `text` means.
    ///
    /// Read: `+39…`, the international prefix, national digits where the plan is national, the separators
    /// `space . - ( ) /`, a leftover `tel:`, parameters behind `;` (`phone-context` as RFC 3966 section 5.1.5 has it).
    /// Refused: letters, `*`, `#`, pauses, `%`, digits of other scripts, extensions and sub-addresses, too few or too
    /// many digits.
    pub fn read(&self, text: &str) -> Result<E164, BadNumber> {
        if text.len() > MAX_TEXT {
            return Err(BadNumber);
        }
        let text = text.strip_prefix("tel:").unwrap_or(text);
        if let DialPlan::Behind(prefix, plan) = self {
            return plan.read(text.strip_prefix(prefix.as_str()).unwrap_or(text));
        }
        let (written, parameters) = text.split_once(';').unwrap_or((text, ""));
        let context = context_of(parameters)?;
        let (is_global, digits) = digits_of(written)?;
        let international = match (is_global, context) {
            (true, _) => digits,
            (false, Some(context)) => context + &digits,
            (false, None) => self.internationalise(&digits)?,
        };
        checked(&international)
    }

    /// Without any prefix in front: callers' numbers have none, and may begin as one does.
    pub fn plain(&self) -> &DialPlan {
        match self {
            DialPlan::Behind(_, plan) => plan.plain(),
            plain => plain,
        }
    }

    fn internationalise(&self, digits: &str) -> Result<String, BadNumber> {
        let DialPlan::National { country_code, trunk_prefix, international_prefix } = self else {
            return Ok(digits.strip_prefix("00").unwrap_or(digits).to_owned());
        };
        if let Some(foreign) = digits.strip_prefix(international_prefix.as_str()) {
            return Ok(foreign.to_owned());
        }
        if country_code == "1" && digits.starts_with('0') {
            return Err(BadNumber); // 0 and 00 call an operator there
        }
        let national = digits.strip_prefix(trunk_prefix.as_str()).unwrap_or(digits);
        Ok(format!("{country_code}{national}"))
    }
}

/// The digits of a `phone-context` that is a number. One that is a domain says nothing that the plan does not.
fn context_of(parameters: &str) -> Result<Option<String>, BadNumber> {
    let mut context = None;
    for parameter in parameters.split(';') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name.to_ascii_lowercase().as_str() {
            "phone-context" if context.is_some() => return Err(BadNumber),
            "phone-context" if value.starts_with('+') => context = Some(digits_of(value)?.1),
            // They name a line behind the number, or keys to press: more than a number.
            "ext" | "isub" | "postd" => return Err(BadNumber),
            _ => {}
        }
    }
    Ok(context)
}

/// Digits without separators, and whether a `+` stood before them.
fn digits_of(written: &str) -> Result<(bool, String), BadNumber> {
    let written = written.trim_matches(' ');
    let (is_global, rest) = match written.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, written),
    };
    let rest = if is_global { without_written_zero(rest)? } else { rest.to_owned() };
    let mut digits = String::with_capacity(rest.len());
    for c in rest.chars() {
        match c {
            '0'..='9' => digits.push(c),
            ' ' | '.' | '-' | '(' | ')' | '/' => {}
            _ => return Err(BadNumber),
        }
    }
    Ok((is_global, digits))
}

/// `+44 (0)20 …`: a zero in brackets is dialled within the country alone, but where the plan keeps it anyway.
fn without_written_zero(rest: &str) -> Result<String, BadNumber> {
    let Some((country, tail)) = rest.split_once("(0)") else { return Ok(rest.to_owned()) };
    if tail.contains("(0)") {
        return Err(BadNumber);
    }
    let kept = KEEPS_ZERO.contains(&country.trim_matches([' ', '.', '-', '/']));
    Ok(format!("{country}{}{tail}", if kept { "0" } else { "" }))
}

fn checked(digits: &str) -> Result<E164, BadNumber> {
    let number = E164::from_digits(digits)?;
    let complete = if digits.starts_with('1') { digits.len() == NANP_DIGITS } else { digits.len() >= MIN_DIGITS };
    if complete { Ok(number) } else { Err(BadNumber) }
}

impl WrittenAs {
    /// `number` as this carrier wants to read it.
    pub fn write(&self, number: &E164) -> String {
        let digits = number.digits();
        match self {
            WrittenAs::Plus => number.to_string(),
            WrittenAs::Bare | WrittenAs::National(DialPlan::International | DialPlan::Behind(..)) => digits.to_owned(),
            WrittenAs::Prefixed(prefix, rest) => format!("{prefix}{}", rest.write(number)),
            WrittenAs::National(DialPlan::National { country_code, trunk_prefix, international_prefix }) => {
                match digits.strip_prefix(country_code.as_str()) {
                    Some(national) => format!("{trunk_prefix}{national}"),
                    None => format!("{international_prefix}{digits}"),
                }
            }
        }
    }
}

impl WrittenAs {
    /// The same without a prefix: a prefix leads a call somewhere, and belongs to no caller.
    pub fn plain(&self) -> &WrittenAs {
        match self {
            WrittenAs::Prefixed(_, rest) => rest.plain(),
            own => own,
        }
    }
}

const PLAN_HINT: &str = "expected e164, nanp, national:COUNTRY[:TRUNK[:INTERNATIONAL]], like national:49:0 or \
     national:39, or strip:PREFIX:PLAN";
const STYLE_HINT: &str =
    "expected plus, bare, nanp, national:COUNTRY[:TRUNK[:INTERNATIONAL]], or prefix:DIGITS[:STYLE]";

/// Of a tech or routing prefix.
const MOST_PREFIX: usize = 16;

/// `prefix:9981#:national:39` without its first word: the prefix, and what stands behind it, if anything does.
fn prefixed(text: &str) -> Option<(&str, Option<&str>)> {
    let (prefix, rest) = text.split_once(':').map_or((text, None), |(prefix, rest)| (prefix, Some(rest)));
    let sound =
        (1..=MOST_PREFIX).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_digit() || b"*#+".contains(&b));
    sound.then_some((prefix, rest))
}

fn digits_only(text: &str, most: usize) -> bool {
    text.len() <= most && text.bytes().all(|b| b.is_ascii_digit())
}

impl FromStr for DialPlan {
    type Err = &'static str;
    /// `e164` (also `plus`, `bare`), `nanp`, `national:49:0`, `national:81:0:010`, `strip:9981#:national:39`.
    fn from_str(text: &str) -> Result<DialPlan, &'static str> {
        match text {
            "e164" | "plus" | "bare" => return Ok(DialPlan::International),
            "nanp" => return Ok(DialPlan::nanp()),
            _ => {}
        }
        if let Some(behind) = text.strip_prefix("strip:") {
            let (prefix, plan) = prefixed(behind).ok_or(PLAN_HINT)?;
            let plan = plan.map_or(Ok(DialPlan::International), str::parse)?;
            // One prefix, and no digits of numbers with it: a second would be a way to read one number as another.
            let single = !matches!(plan, DialPlan::Behind(..));
            return single.then(|| DialPlan::Behind(prefix.to_owned(), Box::new(plan))).ok_or(PLAN_HINT);
        }
        let mut parts = text.strip_prefix("national:").ok_or(PLAN_HINT)?.split(':');
        let country = parts.next().unwrap_or_default();
        let trunk = parts.next().unwrap_or_default();
        let international = parts.next().unwrap_or("00");
        let sound = !country.is_empty()
            && !country.starts_with('0')
            && digits_only(country, 3)
            && digits_only(trunk, 4)
            && !international.is_empty()
            && digits_only(international, 6)
            && parts.next().is_none();
        if sound { Ok(DialPlan::national(country, trunk, international)) } else { Err(PLAN_HINT) }
    }
}

impl fmt::Display for DialPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialPlan::International => f.write_str("e164"),
            DialPlan::National { country_code, trunk_prefix, international_prefix } => {
                write!(f, "national:{country_code}:{trunk_prefix}:{international_prefix}")
            }
            DialPlan::Behind(prefix, plan) => write!(f, "strip:{prefix}:{plan}"),
        }
    }
}

impl FromStr for WrittenAs {
    type Err = &'static str;
    /// `plus` (also `e164`), `bare`, a plan (`nanp`, `national:49:0`), or one of them behind `prefix:DIGITS:`; bare, where
    /// nothing stands behind that.
    fn from_str(text: &str) -> Result<WrittenAs, &'static str> {
        match text {
            "plus" | "e164" => return Ok(WrittenAs::Plus),
            "bare" => return Ok(WrittenAs::Bare),
            _ => {}
        }
        if let Some(text) = text.strip_prefix("prefix:") {
            let (prefix, rest) = prefixed(text).ok_or(STYLE_HINT)?;
            let rest = rest.map_or(Ok(WrittenAs::Bare), str::parse)?;
            let single = !matches!(rest, WrittenAs::Prefixed(..));
            return single.then(|| WrittenAs::Prefixed(prefix.to_owned(), Box::new(rest))).ok_or(STYLE_HINT);
        }
        match text.parse() {
            Ok(DialPlan::Behind(..)) | Err(_) => Err(STYLE_HINT),
            Ok(plan) => Ok(WrittenAs::National(plan)),
        }
    }
}

impl fmt::Display for WrittenAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WrittenAs::Plus => f.write_str("plus"),
            WrittenAs::Bare => f.write_str("bare"),
            WrittenAs::National(plan) => write!(f, "{plan}"),
            WrittenAs::Prefixed(prefix, rest) if **rest == WrittenAs::Bare => write!(f, "prefix:{prefix}"),
            WrittenAs::Prefixed(prefix, rest) => write!(f, "prefix:{prefix}:{rest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORLD: &str = "e164";
    const NANP: &str = "nanp";
    const ITALY: &str = "national:39";
    const GERMANY: &str = "national:49:0";
    const JAPAN: &str = "national:81:0:010";
    const TECH: &str = "strip:9981#";
    const TECH_NATIONAL: &str = "strip:7:national:39";

    #[test]
    fn one_number_has_one_form_however_it_is_written() {
        let cases = [
            (WORLD, "+390612345678", "+390612345678"),
            (WORLD, "390612345678", "+390612345678"),
            (WORLD, "00390612345678", "+390612345678"),
            (WORLD, "tel:+39-06-1234.5678", "+390612345678"),
            (WORLD, " +39 06 / 1234 5678 ", "+390612345678"),
            (WORLD, "+39 (06) 12345678", "+390612345678"),
            (WORLD, "+39 (0)6 12345678", "+390612345678"),
            (WORLD, "+44 (0)20 7946 0000", "+442079460000"),
            (WORLD, "+44(0)2079460000", "+442079460000"),
            (WORLD, "+390612345678;user=phone", "+390612345678"),
            (WORLD, "+390612345678;verstat=TN-Validation-Passed", "+390612345678"),
            (WORLD, "612345678;phone-context=+390", "+390612345678"),
            (WORLD, "390612345678;phone-context=carrier.example", "+390612345678"),
            (WORLD, "+390612345678;phone-context=+1900", "+390612345678"),
            (NANP, "2125550123", "+12125550123"),
            (NANP, "12125550123", "+12125550123"),
            (NANP, "+1 (212) 555-0123", "+12125550123"),
            (NANP, "011390612345678", "+390612345678"),
            (ITALY, "0612345678", "+390612345678"),
            (ITALY, "3331234567", "+393331234567"),
            (ITALY, "00442079460000", "+442079460000"),
            (GERMANY, "030123456", "+4930123456"),
            (GERMANY, "30123456", "+4930123456"),
            (GERMANY, "0039 06 12345678", "+390612345678"),
            (JAPAN, "0312345678", "+81312345678"),
            (JAPAN, "010390612345678", "+390612345678"),
            (TECH, "9981#390612345678", "+390612345678"),
            (TECH, "tel:9981#+39 06 1234 5678", "+390612345678"),
            (TECH, "390612345678", "+390612345678"),
            (TECH_NATIONAL, "70612345678", "+390612345678"),
        ];
        for (plan, written, form) in cases {
            let read = plan.parse::<DialPlan>().unwrap().read(written).map(|n| n.to_string());
            assert_eq!(read.as_deref(), Ok(form), "{plan} {written}");
        }
    }

    #[test]
    fn what_is_not_surely_one_number_is_refused() {
        let cases = [
            (WORLD, ""),
            (WORLD, "+"),
            (WORLD, "anonymous"),
            (WORLD, "+1800FLOWERS"),
            (WORLD, "+3906*12345678"),
            (WORLD, "+390612345678#"),
            (WORLD, "#31#390612345678"),
            (WORLD, "+390612345678,,123"),
            (WORLD, "+390612345678p123"),
            (WORLD, "+390612345678w1"),
            (WORLD, "%2B390612345678"),
            (WORLD, "+3906123%34567"),
            (WORLD, "+\u{663}\u{669}0612345678"),
            (WORLD, "+\u{ff13}\u{ff19}0612345678"),
            (WORLD, "+39\u{a0}0612345678"),
            (WORLD, "+39\t0612345678"),
            (WORLD, "+0039061234567"),
            (WORLD, "000390612345678"),
            (WORLD, "00+390612345678"),
            (WORLD, "++390612345678"),
            (WORLD, "39+0612345678"),
            (WORLD, "0612345678"),
            (WORLD, "011390612345678"),
            (WORLD, "112"),
            (WORLD, "+911"),
            (WORLD, "+1911"),
            (WORLD, "+1212555012"),
            (WORLD, "+121255501234"),
            (WORLD, "+3906123456781234567890123456789012345678"),
            (WORLD, "+390612345678;ext=12"),
            (WORLD, "+390612345678;isub=12"),
            (WORLD, "+390612345678;postd=pp22"),
            (WORLD, "612345678;phone-context=+39;phone-context=+1900"),
            (WORLD, "sip:+390612345678"),
            (WORLD, "+390612345678@carrier.example"),
            (NANP, "911"),
            (NANP, "5550123"),
            (NANP, "0012125550123"),
            (NANP, "00390612345678"),
            (NANP, "01139"),
            (TECH, "9981#9981#390612345678"),
            (TECH, "9981#"),
            (TECH, "9981#112"),
        ];
        for (plan, written) in cases {
            let read = plan.parse::<DialPlan>().unwrap().read(written);
            assert_eq!(read, Err(BadNumber), "{plan} {written}");
        }
        assert_eq!(DialPlan::International.read(&" ".repeat(100_000)), Err(BadNumber));
    }

    #[test]
    fn a_carrier_reads_what_it_wants_to_read() {
        let cases = [
            ("plus", "+390612345678", "+390612345678"),
            ("bare", "+390612345678", "390612345678"),
            ("prefix:9981#", "+390612345678", "9981#390612345678"),
            ("prefix:9981:plus", "+390612345678", "9981+390612345678"),
            ("prefix:00", "+390612345678", "00390612345678"),
            ("prefix:7*:national:39", "+390612345678", "7*0612345678"),
            ("prefix:7*:national:39", "+442079460000", "7*00442079460000"),
            ("national:39", "+390612345678", "0612345678"),
            ("national:39", "+442079460000", "00442079460000"),
            ("national:49:0", "+4930123456", "030123456"),
            ("nanp", "+12125550123", "12125550123"),
            ("nanp", "+390612345678", "011390612345678"),
        ];
        for (style, number, wanted) in cases {
            assert_eq!(style.parse::<WrittenAs>().unwrap().write(&number.parse().unwrap()), wanted, "{style} {number}");
        }
    }

    #[test]
    fn plans_and_styles_read_back() {
        for text in
            ["e164", "nanp", "national:39", "national:49:0", "national:81:0:010", "strip:9#", "strip:9:national:39"]
        {
            let plan: DialPlan = text.parse().unwrap();
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
        for text in ["plus", "bare", "prefix:123", "nanp", "national:49:0", "prefix:9#:plus", "prefix:9:national:39"] {
            let style: WrittenAs = text.parse().unwrap();
            assert_eq!(style.to_string().parse(), Ok(style));
        }
        for bad in ["", "national", "national:", "national:0", "national:1234", "national:49:x", "national:49:0::", "x"]
        {
            assert!(bad.parse::<DialPlan>().is_err(), "{bad}");
        }
        for bad in ["strip:", "strip:a", "strip:9:x", "strip:9:strip:8", "strip:12345678901234567"] {
            assert!(bad.parse::<DialPlan>().is_err(), "{bad}");
        }
        for bad in ["prefix:abc", "prefix:", "prefix:9:x", "prefix:9:prefix:8", "strip:9", "prefix:9:strip:8"] {
            assert!(bad.parse::<WrittenAs>().is_err(), "{bad}");
        }
        let style: WrittenAs = "prefix:9#:national:39".parse().unwrap();
        assert_eq!(style.plain().to_string(), "national:39::00", "a caller has no tech prefix");
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_read_is_read_again_as_the_same(text in "\\PC{0,40}", tail in "[-0-9+ .()/;=a-z#*,%]{0,24}") {
            for plan in [DialPlan::International, DialPlan::nanp(), DialPlan::national("39", "", "00")] {
                for written in [&text, &tail] {
                    if let Ok(number) = plan.read(written) {
                        prop_assert_eq!(plan.read(&number.to_string()), Ok(number));
                    }
                }
            }
        }

        #[test]
        fn what_a_carrier_is_sent_its_own_plan_reads_back(digits in "[2-9][0-9]{7,13}") {
            let number = E164::from_digits(&digits).unwrap();
            for (style, plan) in [("plus", "e164"), ("bare", "e164"), ("nanp", "nanp"), ("national:39", "national:39")] {
                let written = style.parse::<WrittenAs>().unwrap().write(&number);
                let national_zero = style == "national:39" && digits.starts_with("3900");
                if !national_zero {
                    prop_assert_eq!(plan.parse::<DialPlan>().unwrap().read(&written), Ok(number), "{}", style);
                }
            }
        }
    }
}
