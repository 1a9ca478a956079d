//! What the API serves, told to programs: OpenAPI 3.1. The document is a file beside this one, written by hand as the
//! pages are; tests hold it to the router's pages, to what clients send, and to what is really answered.

use super::auth::Need;
use super::{OF_ONE, Permission, V1, permissions};
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::Value;
use std::sync::LazyLock;

const DOCUMENT: &str = include_str!("openapi.json");

/// The document, and what changes by itself: the version, and who may ask each page, from the table of pages.
static SERVED: LazyLock<String> = LazyLock::new(|| {
    let text = DOCUMENT.replacen("VERSION", env!("CARGO_PKG_VERSION"), 1);
    let Ok(mut document) = serde_json::from_str::<Value>(&text) else { return text };
    for Permission { need, method, path } in permissions() {
        let operation = document["paths"].get_mut(format!("{V1}{path}")).and_then(|page| page.get_mut(method));
        let Some(Value::Object(operation)) = operation else { continue };
        let roles: Vec<&str> = need.roles().iter().map(|role| role.slug()).collect();
        operation.insert("x-need".to_owned(), need.slug().into());
        operation.insert("x-roles".to_owned(), roles.into());
        let is_of_house = need.is_of_house() || !path.starts_with(OF_ONE);
        operation.insert("x-of-house".to_owned(), (is_of_house && need != Need::Known).into());
    }
    document.to_string()
});

pub async fn show() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], SERVED.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::alert::{self, AlertsQuery};
    use crate::api::correct::{self, RefundOrder, RerateOrder};
    use crate::api::entry::{self, EntriesQuery, Shelf, Spot};
    use crate::api::grant::{self, GrantOrder, GrantsQuery};
    use crate::api::hot::{self, HotFile, HotNote, HotQuery, LiftOrder};
    use crate::api::leg::{DialOrder, Dialling, Switch, TransferOrder};
    use crate::api::limit::{self, ConfirmOrder};
    use crate::api::meeting::RecordOrder;
    use crate::api::money::{self, AsOfQuery, CreditsOrder, File, QuoteQuery, UsageQuery};
    use crate::api::problem::Problem;
    use crate::api::revoke::{self, RevokeOrder};
    use crate::api::token::{self, TokenOrder};
    use crate::api::trace::{Rung, Trace};
    use crate::api::trail::{self, TrailQuery};
    use crate::api::{Page, open_pages, v1_pages};
    use crate::api::{privacy, rates, report};
    use crate::clock::Wall;
    use crate::notice::{Errand, Gate, Report, Target};
    use crate::rating::CallType;
    use crate::rating::record::EndedBy;
    use crate::store::{Answered, ChangeStep, Claim, End, EntryKind, LimitsOf, OpenLeg, Options, Store};
    use crate::switchboard::ask::{CarrierView, LegView, MeetingView, TallyView};
    use crate::types::{Cause, LegId, OrganisationId};
    use serde::Serialize;
    use serde_json::json;
    use std::collections::BTreeSet;

    const DEMO: &str = include_str!("../../config/demo.toml");
    const RATES: &str = include_str!("../../config/rates.csv");
    const NOON: Wall = Wall::from_seconds(1_781_611_200);

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// Follows a `$ref`.
    fn found<'a>(document: &'a Value, part: &'a Value) -> &'a Value {
        match part["$ref"].as_str() {
            Some(name) => document.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("no {name}")),
            None => part,
        }
    }

    /// Whether a value is of a JSON Schema type by its name.
    fn is_of(value: &Value, name: &str) -> bool {
        match name {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => panic!("a type that the document should not use: {other}"),
        }
    }

    /// What of a value the schema does not tell: the words of JSON Schema that the document uses, and no others.
    fn misfit(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
        let schema = found(document, schema);
        if let Some(choices) = schema["oneOf"].as_array() {
            let fits = choices.iter().filter(|choice| misfit(document, choice, value, at).is_none()).count();
            return (fits != 1).then(|| format!("{at}: fits {fits} of the choices: {value}"));
        }
        if let Some(constant) = schema.get("const") {
            return (constant != value).then(|| format!("{at}: {value} is not {constant}"));
        }
        let names: Vec<&str> = match &schema["type"] {
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            name => name.as_str().into_iter().collect(),
        };
        if !names.iter().any(|name| is_of(value, name)) {
            return Some(format!("{at}: {value} is none of {names:?}"));
        }
        if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
            return Some(format!("{at}: {value} is none of {}", schema["enum"]));
        }
        match value {
            Value::Array(items) => items.iter().find_map(|item| misfit(document, &schema["items"], item, at)),
            Value::Object(fields) if schema.get("properties").is_some() => {
                let missing = schema["required"].as_array().unwrap().iter().filter_map(Value::as_str);
                let missing = missing.filter(|name| !fields.contains_key(*name)).map(|name| format!("{at}: no {name}"));
                let inside = fields.iter().find_map(|(name, field)| match schema["properties"].get(name) {
                    Some(schema) => misfit(document, schema, field, &format!("{at}.{name}")),
                    None => Some(format!("{at}.{name} is not in the document")),
                });
                missing.chain(inside).next()
            }
            _ => None,
        }
    }

    /// Each value fits the schema called `name`, and each property of the schema was seen in one of them.
    #[track_caller]
    fn fits(name: &str, values: &[Value]) {
        let document = document();
        let schema = &document["components"]["schemas"][name];
        for value in values {
            assert_eq!(misfit(&document, schema, value, name), None);
        }
        for property in schema["properties"].as_object().into_iter().flat_map(|all| all.keys()) {
            assert!(values.iter().any(|value| value.get(property).is_some()), "{name}.{property} is never sent");
        }
    }

    fn value(of: impl Serialize) -> Value {
        serde_json::to_value(of).unwrap()
    }

    #[test]
    fn the_document_has_the_pages_of_the_router_and_no_others() {
        let listed = |prefix: &str, pages: Vec<Page>| {
            let name = |page: &Page| format!("{} {prefix}{}", page.method, page.path);
            pages.iter().map(name).collect::<Vec<String>>()
        };
        let served = [listed(V1, v1_pages()), listed("", open_pages())].concat();
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let told = paths.iter().flat_map(|(path, operations)| {
            operations.as_object().unwrap().keys().map(move |method| format!("{method} {path}"))
        });
        assert_eq!(told.collect::<BTreeSet<_>>(), served.iter().cloned().collect::<BTreeSet<_>>());
        assert_eq!(document["openapi"], "3.1.0");
    }

    /// What is open is told as open; every name in a path is a parameter; every reference leads somewhere.
    #[test]
    fn the_document_is_whole() {
        let document = document();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let place = format!("{method} {path}");
                assert_eq!(operation["security"] == json!([]), !path.starts_with(V1), "{place}");
                assert!(operation["summary"].is_string() && operation["responses"]["default"].is_object(), "{place}");
                let named: Vec<&str> = path.split('/').filter_map(|part| part.strip_prefix('{')).collect();
                let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
                let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
                let in_path: Vec<String> = in_path.map(|p| format!("{}}}", p["name"].as_str().unwrap())).collect();
                assert_eq!(in_path, named, "{place}");
            }
        }
        let mut parts = vec![&document];
        while let Some(part) = parts.pop() {
            found(&document, part);
            match part {
                Value::Object(fields) => parts.extend(fields.values()),
                Value::Array(items) => parts.extend(items),
                _ => {}
            }
        }
    }

    /// Each page but the open ones says who may ask it; the organisation's token opens none but its own.
    #[test]
    fn who_may_ask_is_told() {
        let told: Value = serde_json::from_str(&SERVED).unwrap();
        for (path, operations) in told["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let place = format!("{method} {path}");
                assert_eq!(operation["x-roles"].is_array(), path.starts_with(V1), "{place}");
                assert_eq!(operation["x-need"].is_string(), path.starts_with(V1), "{place}");
            }
        }
        let page = |path: &str, method: &str| &told["paths"][path][method];
        let users = page("/api/v1/organisations/{organisation}/users/{user}", "put");
        assert_eq!((&users["x-roles"], &users["x-of-house"]), (&json!(["operator", "admin"]), &json!(false)));
        let credits = page("/api/v1/organisations/{organisation}/credits", "post");
        assert_eq!((&credits["x-roles"], &credits["x-of-house"]), (&json!(["operator", "billing"]), &json!(true)));
        assert_eq!(page("/api/v1/legs", "get")["x-of-house"], true);
    }

    #[test]
    fn what_clients_send_is_told() {
        let (meeting, to, key, memo) = (String::new(), String::new(), String::new(), String::new());
        fits("DialOrder", &[value(DialOrder { meeting, to })]);
        fits("Switch", &[value(Switch { on: true })]);
        fits("TransferOrder", &[value(TransferOrder { to: String::new() })]);
        fits("RecordOrder", &[value(RecordOrder { step: "start".into() })]);
        let order = CreditsOrder { kind: "add".into(), amount: "1".into(), key, memo };
        fits("CreditsOrder", &[value(order)]);
        let beside = vec![(String::new(), String::new())];
        fits("File", &[value(File { name: String::new(), text: String::new(), beside })]);
        let order = RefundOrder { amount: None, key: String::new(), reason: String::new() };
        fits("RefundOrder", &[value(order)]);
        fits("RevokeOrder", &[value(RevokeOrder::default())]);
        fits("RerateOrder", &[value(RerateOrder::default())]);
        let (texts, text) = (vec![String::new()], Some(String::new()));
        let order = GrantOrder {
            unit: "seconds".into(),
            source: "promo".into(),
            priority: Some(1),
            from: text.clone(),
            until: text,
            call_types: texts.clone(),
            prefixes: texts.clone(),
            countries: texts.clone(),
            capabilities: texts,
            ..GrantOrder::default()
        };
        fits("GrantOrder", &[value(order)]);
        let usage = UsageQuery::default();
        let (organiser, call_type, to) = (String::new(), String::new(), String::new());
        let quote = QuoteQuery { organiser, call_type, to, caller: None, minutes: None, costs: None };
        fits("RetentionOrder", &[value(privacy::RetentionOrder { dry_run: true })]);
        fits("ForgetOrder", &[value(privacy::ForgetOrder { number: None, user: None, dry_run: true })]);
        fits("CarrierFile", &[value(report::CarrierFile::default())]);
        let order = TokenOrder { name: "x".into(), role: "admin".into(), expires: None };
        fits("TokenOrder", &[value(order)]);
        fits("TermOrder", &[value(entry::TermOrder::default())]);
        fits("ConfirmOrder", &[value(ConfirmOrder { limit: Some(String::new()), reason: String::new() })]);
        fits("HotFile", &[value(HotFile::default())]);
        fits("HotNote", &[value(HotNote::default())]);
        fits("LiftOrder", &[value(LiftOrder { destination: Some("LV".into()), reason: String::new() })]);
        let without = |mut query: Value, name: &str| {
            query.as_object_mut().unwrap().remove(name);
            query
        };
        let corrections = without(value(correct::CorrectionsQuery::default()), "org");
        let asked = value(report::ReportQuery::default());
        for (path, query) in [
            ("/api/v1/usage", value(usage)),
            ("/api/v1/organisations/{organisation}/grants", value(GrantsQuery { all: true })),
            ("/api/v1/corrections", value(correct::CorrectionsQuery::default())),
            ("/api/v1/quote", value(quote)),
            ("/api/v1/organisations/{organisation}/usage", without(value(UsageQuery::default()), "org")),
            ("/api/v1/organisations/{organisation}/corrections", corrections),
            ("/api/v1/organisations/{organisation}/trail", without(value(TrailQuery::default()), "org")),
            ("/api/v1/trail", value(TrailQuery::default())),
            ("/api/v1/carriers", value(EntriesQuery::default())),
            ("/api/v1/hot-list/entries", value(HotQuery::default())),
            ("/api/v1/organisations/{organisation}/users", value(EntriesQuery::default())),
            ("/api/v1/margins", value(rates::MarginQuery::default())),
            ("/api/v1/reports/{report}", asked.clone()),
            ("/api/v1/organisations/{organisation}/reports/{report}", asked),
        ] {
            let document = document();
            let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
            let parameters = parameters.iter().filter(|parameter| parameter["in"] == "query");
            let told: BTreeSet<&str> = parameters.map(|parameter| parameter["name"].as_str().unwrap()).collect();
            assert_eq!(told, query.as_object().unwrap().keys().map(String::as_str).collect(), "{path}");
        }
    }

    #[test]
    fn what_is_answered_of_calls_is_told() {
        let leg = LegView {
            id: String::new(),
            direction: "in".into(),
            state: "lobby".into(),
            number: String::new(),
            caller: None,
            withheld: true,
            carrier: Some(String::new()),
            organisation: None,
            meeting: None,
            role: None,
            muted: false,
            began: 0,
            elapsed_ms: 0,
            cause: None,
            words: None,
        };
        fits("Leg", &[value(leg)]);
        let meeting = MeetingView {
            id: String::new(),
            conference_id: String::new(),
            organiser: String::new(),
            organisation: String::new(),
            locked: false,
            recording: "off".into(),
            started: true,
            inside: 1,
            waiting: 0,
            legs: vec![String::new()],
        };
        fits("Meeting", &[value(meeting)]);
        let standing = CarrierView {
            id: String::new(),
            reach: Some("up".into()),
            reach_since: Some(0),
            registration: None,
            registration_since: None,
            registration_status: Some(403),
            locked: None,
            rests_until: Some(0),
            inbound: TallyView::default(),
            outbound: TallyView {
                asr_per_mille: Some(1),
                codes: [("200".to_owned(), 1)].into(),
                ..TallyView::default()
            },
        };
        fits("Standing", &[value(standing)]);
        let text = "BYE sip:a SIP/2.0\r\n\r\n".to_owned();
        let (transport, here, there) = ("udp".to_owned(), String::new(), String::new());
        let rung = Rung { at_us: 0, out: true, again: false, transport, here, there, text };
        fits("Rung", &[value(rung.clone())]);
        let trace = Trace { call_id: Some("a@b".into()), rungs: vec![rung], ..Trace::default() };
        fits("Trace", &[value(trace.clone()), value(Trace { leg: Some(LegId::new(1, 1).to_string()), ..trace })]);
        fits("Dialling", &[value(Dialling { leg: String::new() })]);
        let (bad, mistakes) = (Problem::bad("x").into_body(), Problem::mistakes(vec!["x".into()]).into_body());
        fits("Problem", &[value(bad), value(mistakes)]);
    }

    async fn one_call(store: &Store) {
        let leg = LegId::new(1, 1);
        let asked = OpenLeg {
            leg,
            call_type: CallType::DialInToll,
            number: "+390612345678".parse().unwrap(),
            caller: None,
            origin: crate::rating::Origin::Fixed,
            carrier: None,
            meeting: Some("studio".parse().unwrap()),
            call_id: "c".into(),
            journal: String::new(),
            invited: NOON,
        };
        store.open_leg(asked).await.unwrap();
        store.answered(Answered { leg, at: NOON, journal: None }).await.unwrap();
        store.settle(leg, End::new(Cause::HungUp, EndedBy::FarSide, 61_000, NOON)).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_answered_of_money_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("books.db").display());
        let store = Store::open(&url, Options::default()).await.unwrap();
        let gate = Gate::default();
        let beside = vec![("rates.csv".to_owned(), RATES.to_owned())];
        let file = |text: &str, beside| File { name: "demo.toml".into(), text: text.into(), beside };
        let applied = money::apply_to(&store, &gate, file(DEMO, beside), NOON).await.unwrap();
        let bare = money::apply_to(&store, &gate, file("", Vec::new()), NOON).await.unwrap();
        let preview = money::preview_of(&store, &gate, file("", Vec::new()), NOON).await.unwrap();
        fits("Applied", &[applied, bare, preview]);
        let order = GrantOrder {
            id: "welcome".into(),
            unit: "money".into(),
            source: "promo".into(),
            amount: "0.0100".into(),
            ..GrantOrder::default()
        };
        let given = grant::add_to(&store, "aurora", &order, NOON).await.unwrap();
        fits("GrantBooked", &[given]);
        one_call(&store).await;
        let masking = crate::rating::report::Masking::default();
        let query = AsOfQuery { at: "2030-01-01".into() };
        fits("AsOf", &[money::as_of(&store, "aurora", &query, NOON).await.unwrap()]);
        fits("Balance", &[money::balance_of(&store, "aurora", NOON).await.unwrap()]);
        let usage = money::usage_of(&store, &masking, &UsageQuery { costs: Some(true), ..UsageQuery::default() })
            .await
            .unwrap();
        let Value::Array(records) = serde_json::from_str(&usage).unwrap() else { panic!("{usage}") };
        fits("Usage", &records);
        let leg = LegId::new(1, 1).to_string();
        let order = RefundOrder { amount: None, key: "k".into(), reason: "r".into() };
        fits("Refunded", &[correct::refund_of(&store, &leg, &order, NOON).await.unwrap()]);
        let order =
            RerateOrder { leg: Some(leg.clone()), key: "r".into(), reason: "r".into(), ..RerateOrder::default() };
        fits("Rerated", &[correct::rerate_of(&store, &order, NOON).await.unwrap()]);
        let order = RevokeOrder { reason: "r".into(), ..RevokeOrder::default() };
        fits("Revoked", &[revoke::revoke_of(&store, "aurora", &order, NOON).await.unwrap()]);
        fits("UsageOfLeg", &[correct::usage_of_leg(&store, &masking, None, &leg).await.unwrap()]);
        let corrections = correct::corrections_of(&store, &correct::CorrectionsQuery::default()).await.unwrap();
        let Value::Array(corrections) = corrections else { panic!("{corrections}") };
        fits("Correction", &corrections);
        let order = CreditsOrder { kind: "add".into(), amount: "1".into(), key: "k".into(), memo: String::new() };
        fits("CreditsBooked", &[money::credits_of(&store, "aurora", &order, NOON).await.unwrap()]);
        let Value::Array(lists) = rates::lists_of(&store) else { panic!("a list of lists") };
        fits("PriceList", &lists);
        fits("Margins", &[rates::margins_of(&store, &rates::MarginQuery::default(), NOON).await.unwrap()]);
        let report = report::report_text(&store, &masking, ("usage", None), &Default::default(), NOON).await.unwrap();
        fits("Report", &[serde_json::from_str(&report).unwrap()]);
        let text = "call_id,start,duration\nc,2026-06-16T12:00:00Z,61\n".to_owned();
        let theirs = report::CarrierFile { name: "cdr.csv".into(), text, ..Default::default() };
        fits("Reconciliation", &[report::reconcile_of(&store, &masking, "local", theirs, NOON).await.unwrap()]);
        let (order, own) = (privacy::RetentionOrder { dry_run: false }, privacy::Retention::default());
        fits("Retained", &[privacy::retain_of(&store, &own, order, NOON).await.unwrap()]);
        let order = privacy::ForgetOrder { number: Some("+390612345678".into()), user: None, dry_run: true };
        fits("Forgotten", &[privacy::forget_of(&store, &order, NOON).await.unwrap()]);
        fits("Grant", &[grant::end_of(&store, "aurora", "welcome", NOON).await.unwrap()]);
        fits("Audit", &[money::audit_of(&store, NOON).await.unwrap()]);
        let asked = TrailQuery::default();
        let Value::Array(rows) = trail::trail_of(&store, &asked).await.unwrap() else { panic!("a list of changes") };
        fits("TrailRow", &rows);
        let ask = |organiser: &str| QuoteQuery {
            organiser: organiser.into(),
            call_type: "dial-out".into(),
            to: "+390699999999".into(),
            caller: None,
            minutes: None,
            costs: Some(true),
        };
        let (yes, no) =
            (money::quote_of(&store, &ask("anna"), NOON).await, money::quote_of(&store, &ask("bruno"), NOON).await);
        let (yes, no) = (yes.unwrap(), no.unwrap());
        fits("Quote", &[yes.clone(), no.clone()]);
        fits("Allowed", &[yes]);
        fits("Refused", &[no]);
    }

    #[tokio::test]
    async fn what_is_answered_of_raised_limits_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("books.db").display());
        let store = Store::open(&url, Options::default()).await.unwrap();
        for limits in ["limits.max_spend_per_day = \"1.00\"", "limits.max_spend_per_leg = \"1.00\""] {
            let text = format!("[[organisation]]\nid = \"acme\"\ncountry = \"IT\"\n{limits}\n");
            let file = File { name: "acme.toml".into(), text, beside: Vec::new() };
            let applied = money::apply_to(&store, &Gate::default(), file, NOON).await.unwrap();
            assert_eq!(applied["pending_limits"], u8::from(limits.contains("leg")));
        }
        let acme = LimitsOf::Organisation("acme".parse().unwrap());
        let pending = limit::pending_of(&store, &acme, NOON).unwrap();
        fits("PendingLimit", pending.as_array().unwrap());
        let order = ConfirmOrder { limit: None, reason: "agreed".into() };
        fits("Confirmed", &[limit::confirm_of(&store, acme.clone(), &order, NOON).await.unwrap()]);
        assert_eq!(limit::pending_of(&store, &acme, NOON).unwrap(), json!([]));
    }

    /// A list comes in, a call to one of its numbers is refused, and what that closes is opened again.
    #[tokio::test]
    async fn what_is_answered_of_hot_numbers_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("books.db").display());
        let store = Store::open(&url, Options::default()).await.unwrap();
        let beside = vec![("rates.csv".to_owned(), RATES.to_owned())];
        let file = File { name: "demo.toml".into(), text: DEMO.into(), beside };
        money::apply_to(&store, &Gate::default(), file, NOON).await.unwrap();
        let text = "prefix,note\n3712345,test\n".to_owned();
        let file = HotFile { name: "hot.csv".into(), text, dry_run: false };
        let report = hot::import_to(&store, "bought", &file, NOON).await.unwrap();
        fits("HotChange", report["changes"].as_array().unwrap());
        fits("HotReport", &[report]);
        let bad = HotFile { text: "prefix\nx\n".into(), ..file };
        let body = hot::import_to(&store, "bought", &bad, NOON).await.unwrap_err().into_body();
        assert_eq!(body.mistakes.len(), 1, "{body:?}");
        fits("HotList", hot::lists_of(&store).await.unwrap().as_array().unwrap());
        let part = hot::entries_of(&store, &HotQuery::default()).await.unwrap();
        fits("HotEntry", part["entries"].as_array().unwrap());
        fits("HotEntries", &[part]);
        let leg = OpenLeg {
            leg: LegId::new(1, 1),
            call_type: CallType::DialOut,
            number: "+37123456".parse().unwrap(),
            caller: None,
            origin: crate::rating::Origin::Fixed,
            carrier: None,
            meeting: Some("studio".parse().unwrap()),
            call_id: "c".into(),
            journal: String::new(),
            invited: NOON,
        };
        store.open_leg(leg).await.unwrap();
        fits("DialBlock", hot::blocks_of(&store, None, NOON).unwrap().as_array().unwrap());
        let order = LiftOrder { destination: None, reason: "known".into() };
        fits("Lifted", &[hot::lift_of(&store, "aurora", &order, NOON).await.unwrap()]);
        assert_eq!(hot::blocks_of(&store, None, NOON).unwrap(), json!([]));
    }

    /// Each kind as it is shown, in a part of a list, and changed.
    #[tokio::test]
    async fn what_is_answered_of_entries_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("books.db").display());
        let store = Store::open(&url, Options::default()).await.unwrap();
        let beside = vec![("rates.csv".to_owned(), RATES.to_owned())];
        let file = |text: &str, beside| File { name: "demo.toml".into(), text: text.into(), beside };
        let gate = Gate::default();
        money::apply_to(&store, &gate, file(DEMO, beside), NOON).await.unwrap();
        money::apply_to(&store, &gate, file(TOLD, Vec::new()), NOON).await.unwrap();
        let aurora: OrganisationId = "aurora".parse().unwrap();
        for (kind, of, schema) in [
            (EntryKind::Organisation, None, "Organisation"),
            (EntryKind::User, Some(&aurora), "User"),
            (EntryKind::Meeting, Some(&aurora), "MeetingEntry"),
            (EntryKind::Number, None, "Number"),
            (EntryKind::Carrier, None, "Carrier"),
        ] {
            let of = of.cloned();
            let part = entry::list_of(&store, &Shelf { kind, of: of.clone() }, &EntriesQuery::default()).unwrap();
            let entries = part["entries"].as_array().unwrap().clone();
            fits(schema, &entries);
            fits(&format!("{schema}Part"), &[part]);
            let name = entries[0][kind.name_key()].as_str().unwrap();
            let spot = || Spot::new(kind, of.clone(), name).unwrap();
            assert_eq!(entry::show_of(&store, &spot()).unwrap(), entries[0]);
            let step = ChangeStep::Patch("{}".to_owned());
            let (status, changed) = entry::change_of(&store, &gate, spot(), step, NOON).await.unwrap();
            assert_eq!((status.as_u16(), &changed["entry"]), (200, &entries[0]));
            fits(&format!("{schema}Changed"), &[changed]);
        }
        let last = Spot::new(EntryKind::Carrier, None, "local").unwrap();
        fits("Removed", &[entry::remove_of(&store, last, NOON).await.unwrap()]);
        let licences = entry::licences_of(&store, "aurora", NOON).unwrap();
        fits("Seats", licences.as_array().unwrap());
        let order = TokenOrder { name: "paola".into(), role: "admin".into(), expires: Some("2036-01-01".into()) };
        fits("TokenMade", &[token::make_of(&store, Some(aurora), &order, NOON).await.unwrap()]);
        let order = TokenOrder { name: "robot".into(), role: "reader".into(), expires: None };
        token::make_of(&store, None, &order, NOON).await.unwrap();
        fits("Token", token::tokens_of(&store, None).as_array().unwrap());
        let who = crate::store::Who { organisation: Some("aurora".parse().unwrap()), ..Default::default() };
        fits(
            "Caller",
            &[token::own_of(&who), token::own_of(&crate::store::Who { role: Some(crate::store::Role::Admin), ..who })],
        );
        fits("TokensRevoked", &[token::revoke_of(&store, None, "robot", NOON).await.unwrap()]);
        let lock = revoke::LockQuery::default();
        fits("Unlocked", &[revoke::unlock_of(&store, "aurora", &lock, NOON).await.unwrap()]);
        let hook = json!({ "alerts": { "webhook": "http://127.0.0.1/x", "webhook_secret": "env:HOOK" } });
        let spot = Spot::new(EntryKind::Organisation, None, "aurora").unwrap();
        let barred = entry::change_of(&store, &gate, spot, ChangeStep::Patch(hook.to_string()), NOON).await;
        let body = barred.unwrap_err().into_body();
        assert!(body.mistakes[0].starts_with("http://127.0.0.1/x: "), "{body:?}");
    }

    const TOLD: &str = r#"
        [[organisation]]
        id = "acme"
        country = "IT"
        credits = "1.00"
        [organisation.alerts]
        emails = ["ops@example.com"]
        webhook = "https://93.184.215.14/hook"
        webhook_secret = "env:HOOK"
        [organisation.recharge]
        trigger = "5.00"
        amount = "20.00"
        max_per_day = "40.00"
        hook = "https://93.184.215.14/pay"
        hook_secret = "env:HOOK"
    "#;

    /// A test is raised, one letter arrives, the webhook fails until it is off, and a recharge is on its way.
    #[tokio::test]
    async fn what_is_answered_of_alerts_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("books.db").display());
        let store = Store::open(&url, Options::default()).await.unwrap();
        let file = File { name: "acme.toml".into(), text: TOLD.into(), beside: Vec::new() };
        money::apply_to(&store, &Gate::default(), file, NOON).await.unwrap();
        let query = AlertsQuery { org: Some("acme".into()) };
        fits("TestSent", &[alert::test_of(&store, "acme", NOON).await.unwrap()]);
        let masking = crate::rating::report::Masking::default();
        let fresh = alert::alerts_of(&store, &masking, &query).await.unwrap();
        let claim = Claim { now: NOON, letters: 9, payments: 9, house: Default::default() };
        for errand in store.claim(claim).await.unwrap().errands {
            let why = "answered 500".to_owned();
            let again = NOON.plus_millis(1);
            let report = match errand {
                Errand::Payment(payment) => Report::Open { key: payment.key, why, again },
                Errand::Letter(letter) if matches!(letter.target, Target::Mail(_)) => {
                    Report::Delivered { id: letter.id }
                }
                Errand::Letter(letter) => {
                    Report::Undelivered { id: letter.id, why, again: Some(again), disable_after: 1 }
                }
            };
            store.report(report, NOON).await.unwrap();
        }
        let shown = alert::alerts_of(&store, &masking, &query).await.unwrap();
        let rows = |name: &str| shown[name].as_array().unwrap().clone();
        let letters: Vec<Value> =
            rows("alerts").iter().flat_map(|alert| alert["letters"].as_array().unwrap().clone()).collect();
        let states: BTreeSet<&str> = letters.iter().map(|letter| letter["state"].as_str().unwrap()).collect();
        assert_eq!(states, BTreeSet::from(["dropped", "sent"]), "{shown:#}");
        assert_eq!(rows("recharges")[0]["error"], "answered 500", "{shown:#}");
        fits("Alert", &rows("alerts"));
        fits("Letter", &letters);
        fits("SwitchedOff", &rows("switched_off"));
        fits("Recharge", &rows("recharges"));
        fits("Alerts", &[fresh, shown]);
    }
}
