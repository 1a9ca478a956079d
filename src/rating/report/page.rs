//! A [`Statement`] as one page of HTML that stands alone: no scripts, nothing fetched, charts drawn in it, made to be
//! printed on A4 or kept as PDF. Everything that a person has named is escaped.

use super::Period;
use super::balance::Flow;
use super::statement::{Group, Line, Movement, Statement};
use super::usage::Sums;
use crate::rating::record::utc;
use crate::types::Micros;
use rust_decimal::Decimal;
use std::fmt::Write;

/// Rows of a breakdown; what is beyond them is one row.
const MOST_ROWS: usize = 25;

/// Text between tags and in quoted attributes. Control characters are shown as what they are not.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// `12 345.6000`, thousands apart by a narrow space and below zero with a true minus.
fn money(amount: Micros) -> String {
    let text = amount.to_text();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("\u{2212}", digits));
    let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
    format!("{sign}{}.{places}", apart(whole))
}

fn apart(digits: &str) -> String {
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

fn count(number: u64) -> String {
    apart(&number.to_string())
}

/// Seconds as `1:02:03`.
fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{}:{minutes:02}:{seconds:02}", apart(&hours.to_string()))
}

const STYLE: &str = "\
@page{size:A4;margin:16mm 15mm 18mm}\
*{box-sizing:border-box}\
body{margin:0 auto;max-width:180mm;padding:10mm 0;color:#16202c;background:#fff;\
font:10pt/1.45 'Helvetica Neue',Helvetica,Arial,'Liberation Sans',sans-serif;font-variant-numeric:tabular-nums}\
header{display:flex;justify-content:space-between;align-items:flex-end;border-bottom:2px solid #16202c;padding-bottom:4mm}\
h1{font-size:20pt;line-height:1.1;margin:0;font-weight:600}\
h2{font-size:11.5pt;margin:8mm 0 2mm;font-weight:600}\
.who{text-align:right}.who b{font-size:12pt}\
.note,.who span{color:#56616e;font-size:8.5pt}\
.preview{margin:4mm 0 0;padding:2mm 3mm;border-left:3px solid #b45309;background:#fef6e7}\
dl{display:grid;grid-template-columns:repeat(4,1fr);gap:3mm;margin:5mm 0 0}\
dl div{border:1px solid #d5dae0;border-radius:1.5mm;padding:2.5mm 3mm}\
dt{color:#56616e;font-size:8.5pt}dd{margin:0;font-size:12.5pt;font-weight:600;white-space:nowrap}dd small{font-weight:400;font-size:8.5pt;color:#56616e}\
table{width:100%;border-collapse:collapse}\
th{text-align:left;font-weight:600;font-size:8.5pt;color:#56616e;border-bottom:1px solid #8b95a1;padding:1mm 2mm}\
td{padding:1mm 2mm;border-bottom:1px solid #e6e9ed;vertical-align:top}\
td:first-child,th:first-child{padding-left:0}td:last-child,th:last-child{padding-right:0}\
.r{text-align:right;white-space:nowrap}\
.sum td{font-weight:600;border-top:1px solid #8b95a1;border-bottom:0}\
.key{overflow-wrap:anywhere}\
.bar{width:19%}\
svg{display:block;width:100%;height:auto}svg text{font-size:9px;fill:#56616e}\
tr,dl div,figure{break-inside:avoid}h2{break-after:avoid}thead{display:table-header-group}\
figure{margin:0}\
footer{margin-top:9mm;padding-top:3mm;border-top:1px solid #8b95a1;color:#56616e;font-size:8.5pt}\
@media print{body{padding:0;max-width:none}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}";

const INK: &str = "#2f5d8a";

/// What each kind of movement is called.
const FLOWS: [(Flow, &str); 5] = [
    (Flow::Funding, "Fundings"),
    (Flow::Refund, "Refunds of charges"),
    (Flow::Charge, "Charges for calls"),
    (Flow::Expiry, "Fundings expired unused"),
    (Flow::Adjustment, "Adjustments"),
];

fn word(flow: Flow) -> &'static str {
    match flow {
        Flow::Funding => "funding",
        Flow::Charge => "charge",
        Flow::Refund => "refund",
        Flow::Expiry => "expired",
        Flow::Adjustment => "adjustment",
    }
}

/// What the capabilities of records mean, for people.
fn capability(word: &str) -> &str {
    match word {
        "MCOMEETADD" => "Audio conferencing, included",
        "MCOMEETACPEA" => "Audio conferencing, pay per minute",
        "MCOPSTNPP" => "Communications credits",
        "MCOMEETADD_DIALOUT_US" => "Extended dial-out, included",
        "FREECALL" => "Free (a price could not be told)",
        "" => "Not admitted",
        other => other,
    }
}

impl Statement {
    /// The page. Its size grows with organisers and movements, and each list has its end.
    pub fn to_html(&self) -> String {
        let mut page = String::with_capacity(32 << 10);
        self.head(&mut page);
        self.account(&mut page);
        self.days(&mut page);
        let capabilities: Vec<Group> =
            self.by_capability.iter().map(|(name, sums)| (capability(name).to_owned(), *sums)).collect();
        self.breakdown(&mut page, "Charges by capability", "Capability", &capabilities);
        self.breakdown(&mut page, "Charges by country called", "Country", &self.by_country);
        self.breakdown(&mut page, "Charges by organiser", "Organiser", &self.by_organiser);
        self.pool(&mut page);
        self.grants(&mut page);
        self.lines(&mut page);
        self.notes(&mut page);
        page.push_str("</body></html>\n");
        page
    }

    fn money(&self, amount: Micros) -> String {
        format!("{} {}", money(amount), self.heading.currency)
    }

    fn head(&self, page: &mut String) {
        let heading = &self.heading;
        let (name, month) = (escape(&heading.name), escape(&heading.month));
        let _ = write!(
            page,
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';style-src 'unsafe-inline'\">\
             <title>Statement {month}, {name}</title><style>{STYLE}</style></head><body>\
             <header><div><h1>Statement of account</h1><span class=\"note\">{month} \u{b7} {}</span></div>\
             <div class=\"who\"><b>{name}</b><br><span>{} \u{b7} {} \u{b7} {}</span></div></header>",
            escape(&span(&heading.period)),
            escape(heading.organisation.as_str()),
            heading.country,
            heading.currency,
        );
        if heading.is_preview() {
            let made = escape(&heading.period.minute_of(heading.made));
            let _ = write!(page, "<p class=\"preview\">A preview: the month had not ended at {made}.</p>");
        }
        let (into, out) = self.sums().unwrap_or_default();
        let tiles = [
            ("Opening balance", money(self.opening)),
            ("In", money(into)),
            ("Out", money(Micros(-out.0))),
            ("Closing balance", money(self.closing)),
        ];
        page.push_str("<dl>");
        for (name, amount) in tiles {
            let _ = write!(page, "<div><dt>{name}</dt><dd>{amount} <small>{}</small></dd></div>", heading.currency);
        }
        page.push_str("</dl>");
    }

    /// From opening to closing, a row a kind of movement.
    fn account(&self, page: &mut String) {
        page.push_str(
            "<h2>Account</h2><table><thead><tr><th>Movement</th><th class=\"r\">Entries</th>\
             <th class=\"r\">Amount</th></tr></thead><tbody>",
        );
        let row = |page: &mut String, class: &str, name: &str, entries: Option<u64>, amount: Micros| {
            let entries = entries.map(count).unwrap_or_default();
            let _ = write!(
                page,
                "<tr{class}><td>{name}</td><td class=\"r\">{entries}</td><td class=\"r\">{}</td></tr>",
                money(amount)
            );
        };
        row(page, "", "Opening balance", None, self.opening);
        for (flow, name) in FLOWS {
            let Movement { entries, amount } = self.movement(flow);
            if entries > 0 || matches!(flow, Flow::Funding | Flow::Charge) {
                row(page, "", name, Some(entries), amount);
            }
        }
        row(page, " class=\"sum\"", "Closing balance", None, self.closing);
        page.push_str("</tbody></table>");
        if self.held != Micros::ZERO {
            let _ = write!(
                page,
                "<p class=\"note\">Of the closing balance, {} were set aside for calls that talked at that moment.</p>",
                self.money(self.held)
            );
        }
        if self.unexplained != Micros::ZERO {
            let _ = write!(
                page,
                "<p class=\"preview\">Charges of {} have no usage record: run the audit.</p>",
                self.money(self.unexplained)
            );
        }
    }

    /// A bar a day.
    fn days(&self, page: &mut String) {
        const LEFT: i64 = 64;
        const TOP: i64 = 8;
        const HEIGHT: i64 = 120;
        const WIDTH: i64 = 616;
        let most = self.by_day.iter().map(|(_, sums)| sums.charge.0).max().unwrap_or(0);
        if most <= 0 {
            page.push_str("<h2>Charges by day</h2><p class=\"note\">No call was charged in this month.</p>");
            return;
        }
        page.push_str(
            "<h2>Charges by day</h2><figure><svg viewBox=\"0 0 680 148\" role=\"img\" aria-label=\"Charges by day\">",
        );
        for (part, of) in [(0_i64, 2_i64), (1, 2), (2, 2)] {
            let y = TOP + HEIGHT - HEIGHT * part / of;
            let amount = money(Micros(most / of * part));
            let _ = write!(
                page,
                "<line x1=\"{LEFT}\" y1=\"{y}\" x2=\"680\" y2=\"{y}\" stroke=\"#d5dae0\"/>\
                 <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{amount}</text>",
                LEFT - 6,
                y + 3
            );
        }
        let days = i64::try_from(self.by_day.len()).unwrap_or(31).max(1);
        for (place, (day, sums)) in (0_i64..).zip(&self.by_day) {
            let (x, next) = (LEFT + WIDTH * place / days, LEFT + WIDTH * (place + 1) / days);
            let height = bar(sums.charge, most, HEIGHT);
            let number = day.rsplit('-').next().unwrap_or_default().trim_start_matches('0');
            let _ = write!(
                page,
                "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{height}\" fill=\"{INK}\">\
                 <title>{}: {}</title></rect><text x=\"{}\" y=\"142\" text-anchor=\"middle\">{number}</text>",
                x + 2,
                TOP + HEIGHT - height,
                (next - x - 4).max(1),
                escape(day),
                self.money(sums.charge),
                (x + next) / 2,
            );
        }
        page.push_str("</svg></figure>");
    }

    fn breakdown(&self, page: &mut String, title: &str, name: &str, groups: &[Group]) {
        if groups.is_empty() {
            return;
        }
        let _ = write!(
            page,
            "<h2>{title}</h2><table><thead><tr><th>{name}</th><th class=\"bar\"></th><th class=\"r\">Calls</th>\
             <th class=\"r\">Time</th><th class=\"r\">From the pool</th><th class=\"r\">Charge {}</th></tr></thead><tbody>",
            self.heading.currency
        );
        let most = groups.iter().map(|(_, sums)| sums.charge.0).max().unwrap_or(0);
        let (shown, rest) = groups.split_at(groups.len().min(MOST_ROWS));
        for (name, sums) in shown {
            let name = if name.is_empty() { "\u{2013}".to_owned() } else { escape(name) };
            group(page, "", &name, sums, Some(bar(sums.charge, most, 200)));
        }
        if !rest.is_empty() {
            let others = rest.iter().fold(Sums::default(), |all, (_, sums)| plus(all, sums));
            group(page, "", &format!("{} others", count(rest.len() as u64)), &others, None);
        }
        group(page, " class=\"sum\"", "Total", &self.total, None);
        page.push_str("</tbody></table>");
    }

    fn pool(&self, page: &mut String) {
        let minutes = |ms: u64| count(ms / 60_000);
        if self.pool.granted_ms == 0 && self.pool.used_ms == 0 {
            return;
        }
        let granted = self.pool.granted_ms.max(1);
        let width =
            u64::min(u64::try_from(u128::from(self.pool.used_ms) * 680 / u128::from(granted)).unwrap_or(680), 680);
        let _ = write!(
            page,
            "<h2>Minute pool</h2><figure><svg viewBox=\"0 0 680 12\" role=\"img\" aria-label=\"Pool used\">\
             <rect width=\"680\" height=\"12\" rx=\"2\" fill=\"#e6e9ed\"/>\
             <rect width=\"{width}\" height=\"12\" rx=\"2\" fill=\"{INK}\"/></svg></figure>\
             <p>{} of {} minutes used, {} left; calls to Zone A countries that the pool paid cost no credits.</p>",
            count(self.pool.used_ms.div_ceil(60_000)),
            minutes(self.pool.granted_ms),
            minutes(self.pool.granted_ms.saturating_sub(self.pool.used_ms.saturating_add(self.pool.held_ms))),
        );
    }

    /// What grants paid.
    fn grants(&self, page: &mut String) {
        let (time, paid) = (clock(self.total.grant_ms.div_ceil(1_000)), self.money(self.total.granted));
        if self.total.grant_ms > 0 || self.total.granted > Micros::ZERO {
            let _ = write!(
                page,
                "<h2>Grants</h2><p>Grants paid {time} of calls, and {paid} of the price of others: neither is in the \
                 charges above.</p>"
            );
        }
    }

    /// Fundings, expiries, adjustments and refunds, one by one.
    fn lines(&self, page: &mut String) {
        if self.lines.is_empty() {
            return;
        }
        page.push_str(
            "<h2>Fundings, expiries, adjustments and refunds</h2><table><thead><tr><th>Booked</th><th>Kind</th>\
             <th>Reference</th><th>Words</th><th class=\"r\">Amount</th></tr></thead><tbody>",
        );
        for Line { at, flow, key, memo, amount } in &self.lines {
            let _ = write!(
                page,
                "<tr><td class=\"r\" style=\"text-align:left\">{}</td><td>{}</td><td class=\"key\">{}</td>\
                 <td class=\"key\">{}</td><td class=\"r\">{}</td></tr>",
                escape(&self.heading.period.minute_of(*at)),
                word(*flow),
                escape(key),
                escape(memo),
                money(*amount)
            );
        }
        page.push_str("</tbody></table>");
        if self.lines_left_out > 0 {
            let _ = write!(page, "<p class=\"note\">and {} more, in the sums above.</p>", count(self.lines_left_out));
        }
    }

    fn notes(&self, page: &mut String) {
        page.push_str("<h2>Rounding</h2><p>");
        let (legs, effect) = (self.rounding.legs, self.rounding.effect().round_dp(9).normalize());
        if legs == 0 {
            page.push_str("No charge of this month was rounded. ");
        } else {
            let (verb, effect) = if effect.is_sign_negative() { ("took", -effect) } else { ("added", effect) };
            let _ = write!(
                page,
                "{} charges come to {} exactly and to {} as they were charged: rounding {verb} {effect} {}. ",
                count(legs),
                decimal(self.rounding.exact),
                self.money(self.rounding.charged),
                self.heading.currency,
            );
        }
        page.push_str(
            "Each call is rounded once, at its end, as its price says; sums are of rounded charges and are not rounded \
             again.</p>",
        );
        let _ = write!(
            page,
            "<footer>Days and months are those of {}. A call counts on the day on which it was charged. All amounts are in \
             {}, sums of the ledger\u{2019}s entries, to the millionth. Made {}.</footer>",
            escape(self.heading.period.zone()),
            self.heading.currency,
            utc(self.heading.made),
        );
    }
}

fn decimal(value: Decimal) -> String {
    value.round_dp(9).normalize().to_string()
}

/// First and last day.
fn span(period: &Period) -> String {
    let days = period.days();
    match (days.first(), days.last()) {
        (Some(first), Some(last)) => format!("{first} to {last}, {}", period.zone()),
        _ => period.zone().to_owned(),
    }
}

/// How long a bar is, of `length` at most; something is always seen.
fn bar(charge: Micros, most: i64, length: i64) -> i64 {
    if charge.0 <= 0 || most <= 0 {
        return 0;
    }
    let long = i128::from(charge.0) * i128::from(length) / i128::from(most);
    i64::try_from(long).unwrap_or(length).clamp(1, length)
}

fn plus(all: Sums, sums: &Sums) -> Sums {
    Sums {
        legs: all.legs + sums.legs,
        answered: all.answered + sums.answered,
        seconds: all.seconds.saturating_add(sums.seconds),
        billed_ms: all.billed_ms.saturating_add(sums.billed_ms),
        pool_ms: all.pool_ms.saturating_add(sums.pool_ms),
        grant_ms: all.grant_ms.saturating_add(sums.grant_ms),
        granted: Micros(all.granted.0.saturating_add(sums.granted.0)),
        fee: Micros(all.fee.0.saturating_add(sums.fee.0)),
        charge: Micros(all.charge.0.saturating_add(sums.charge.0)),
    }
}

fn group(page: &mut String, class: &str, name: &str, sums: &Sums, bar: Option<i64>) {
    let bar = bar.filter(|width| *width > 0).map(|width| {
        format!(
            "<svg viewBox=\"0 0 200 12\" preserveAspectRatio=\"none\" style=\"height:3.2mm\" aria-hidden=\"true\">\
             <rect y=\"2\" width=\"{width}\" height=\"9\" fill=\"{INK}\"/></svg>"
        )
    });
    let _ = write!(
        page,
        "<tr{class}><td class=\"key\">{name}</td><td>{}</td><td class=\"r\">{}</td><td class=\"r\">{}</td>\
         <td class=\"r\">{}</td><td class=\"r\">{}</td></tr>",
        bar.unwrap_or_default(),
        count(sums.legs),
        clock(sums.seconds),
        clock(sums.pool_ms.div_ceil(1_000)),
        money(sums.charge)
    );
}

#[cfg(test)]
mod tests {
    use super::super::statement::{Draft, Heading, Pool};
    use super::*;
    use crate::rating::UsageRecord;
    use crate::rating::record::sample;

    fn heading(name: &str) -> Heading {
        let period = Period::month("UTC", "2023-11").unwrap();
        Heading {
            organisation: "acme".parse().unwrap(),
            name: name.into(),
            country: "IT".parse().unwrap(),
            currency: crate::types::Currency::USD,
            made: period.to.unwrap(),
            period,
            month: "2023-11".into(),
        }
    }

    #[test]
    fn amounts_are_written_for_people() {
        for (amount, shown) in
            [(0, "0.0000"), (-5_000_000, "\u{2212}5.0000"), (1_234_567_890_100, "1\u{202f}234\u{202f}567.8901")]
        {
            assert_eq!(money(Micros(amount)), shown);
        }
        assert_eq!((clock(3_723), clock(3_600_000)), ("1:02:03".into(), "1\u{202f}000:00:00".into()));
        assert_eq!((bar(Micros(1), i64::MAX, 120), bar(Micros(7), 7, 120), bar(Micros(0), 7, 120)), (1, 120, 0));
    }

    #[test]
    fn names_are_escaped_and_nothing_is_fetched_or_run() {
        let evil = "</title><script>alert(1)</script>\"'&\u{7}";
        let mut draft = Draft::new(heading(evil));
        let organisers = ["<b>", "x\" onload=\"y"];
        for (n, _) in organisers.iter().enumerate() {
            let id = crate::types::LegId::from_u128(n as u128);
            let record = UsageRecord { usage_id: id, charge: Micros::ZERO, ..sample() };
            draft.record(&record).unwrap();
        }
        let mut statement = draft.finish(Pool { granted_ms: 3_600_000, used_ms: 60_001, held_ms: 0 }).unwrap();
        statement.by_organiser = organisers.map(|name| (name.to_owned(), Sums::default())).to_vec();
        statement.lines.push(Line {
            at: heading("").made,
            flow: Flow::Funding,
            key: "<i>".into(),
            memo: "<script>".into(),
            amount: Micros(1),
        });
        let page = statement.to_html();
        for bad in ["<script", "<b></b>", "<i>", "onload=\"y", "\u{7}", "http://", "https://", "src=", "url("] {
            assert!(!page.contains(bad), "{bad}");
        }
        assert!(page.contains("&lt;/title&gt;&lt;script&gt;"));
        assert!(page.contains("2 of 60 minutes used, 58 left"));
        // Every tag that opens closes.
        for tag in ["table", "svg", "tbody", "figure", "tr", "td", "dl", "header", "footer", "html", "body", "h2", "p"]
        {
            let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn long_lists_end() {
        let mut statement = Draft::new(heading("Acme")).finish(Pool::default()).unwrap();
        let group = |n: usize| (format!("user{n}"), Sums { legs: 1, charge: Micros(10_000), ..Sums::default() });
        statement.by_organiser = (0..100).map(group).collect();
        let page = statement.to_html();
        assert!(page.contains("75 others") && page.contains("0.7500") && !page.contains("user26"), "{page}");
    }
}
