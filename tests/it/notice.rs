//! The post and the far ends that behave badly.

use crate::sink::{Does, Mail, Secure, Temper, Web};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tollbridge::clock::{self, Wall};
use tollbridge::notice::io::{Courier, Office, Want, read_authorities};
use tollbridge::notice::sign::signature;
use tollbridge::notice::{
    Alert, Config, Errand, Gate, Input, Kind, Letter, Payment, Report, Said, Smtp, Target, Tls, alert,
};
use tollbridge::types::{Currency, Micros};

pub const SECRET: &str = "a secret of twenty-six bytes";

/// The secret in a file, and how settings name it.
pub fn secret(folder: &tempfile::TempDir) -> (PathBuf, String) {
    let path = folder.path().join("hook-secret");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    let named = format!("file:{}", path.display());
    (path, named)
}

fn config() -> Config {
    let gate = Gate { allowed: vec!["127.0.0.0/8".parse().unwrap()] };
    Config { gate, patience: Duration::from_millis(700), ..Config::default() }
}

fn letter(url: &str, secret: &str) -> Errand {
    let facts = alert::facts([
        ("available", "1.0000".to_owned()),
        ("currency", "USD".to_owned()),
        ("threshold", "20 %".to_owned()),
    ]);
    let alert = Alert {
        id: "alert-1".into(),
        kind: Kind::LowBalance,
        at: Wall::from_seconds(1_700_000_000),
        organisation: Some("acme".parse().unwrap()),
        name: "Acme".into(),
        facts,
    };
    let target = Target::Hook { url: url.parse().unwrap(), secret: secret.parse().unwrap() };
    Errand::Letter(Letter { id: "alert-1:0".into(), alert, target, tries: 0 })
}

fn payment(url: &str, secret: &str) -> Errand {
    Errand::Payment(Payment {
        key: "recharge:acme:1".into(),
        organisation: "acme".parse().unwrap(),
        amount: Micros(25_000_000),
        currency: Currency::USD,
        hook: url.parse().unwrap(),
        secret: secret.parse().unwrap(),
        tries: 0,
    })
}

fn mail_to(text: &str) -> Errand {
    let Errand::Letter(letter) = letter("http://x.example/", "env:X") else { unreachable!() };
    Errand::Letter(Letter { target: Target::Mail(text.parse().unwrap()), ..letter })
}

fn unclear(said: &Said) -> &str {
    match said {
        Said::Unclear(why) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_webhook_gets_what_is_documented_signed_over_its_body() {
    let folder = tempfile::tempdir().unwrap();
    let (_, named) = secret(&folder);
    let web = Web::start(|_, _| Does::Answer(204, String::new()));
    let said = Courier::new(config()).carry(&letter(&web.url("/hook?x=1"), &named)).await;
    assert_eq!(said, Said::Yes);
    let got = &web.got()[0];
    assert_eq!((got.path.as_str(), got.header("host")), ("/hook?x=1", web.address.to_string().as_str()));
    let timestamp: i64 = got.header("tollbridge-timestamp").parse().unwrap();
    assert!((clock::wall().seconds() - timestamp).abs() < 60);
    let expected = signature(SECRET.as_bytes(), timestamp, "alert-1", got.body.as_bytes());
    assert_eq!((got.header("tollbridge-signature"), got.header("tollbridge-id")), (expected.as_str(), "alert-1"));
    let body = got.json();
    assert_eq!((&body["id"], &body["kind"]), (&"alert-1".into(), &"low-balance".into()));
    assert_eq!((&body["organisation"], &body["facts"]["available"]), (&"acme".into(), &"1.0000".into()));
    assert_eq!(body["subject"], "Acme: the balance is low");
}

#[tokio::test]
async fn a_payment_hook_is_asked_under_one_key_and_understood() {
    let folder = tempfile::tempdir().unwrap();
    let (_, named) = secret(&folder);
    let web = Web::start(|got, _| match got.path.as_str() {
        "/paid" => Does::json(r#"{"status": "paid", "key": "recharge:acme:1"}"#),
        "/declined" => Does::json(r#"{"status": "declined", "reason": "card expired"}"#),
        "/pending" => Does::json(r#"{"status": "pending"}"#),
        _ => Does::Answer(500, r#"{"status": "declined"}"#.into()),
    });
    let courier = Courier::new(config());
    let ask = async |path: &str| courier.carry(&payment(&web.url(path), &named)).await;
    assert_eq!(ask("/paid").await, Said::Yes);
    assert_eq!(ask("/declined").await, Said::No("card expired".into()));
    assert_eq!(ask("/pending").await, Said::Unclear("pending".into()));
    assert_eq!(ask("/broken").await, Said::Unclear("answered 500".into()));
    for got in web.got() {
        assert_eq!(got.header("idempotency-key"), "recharge:acme:1");
        let expected = serde_json::json!({
            "organisation": "acme", "amount": "25.00", "currency": "USD", "key": "recharge:acme:1",
        });
        assert_eq!(got.json(), expected);
    }
}

/// Whatever they do, it is over in the time set, and a payment is never taken for settled.
#[tokio::test]
async fn far_ends_that_hang_trickle_flood_break_off_or_lead_elsewhere_cost_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    let (_, named) = secret(&folder);
    let elsewhere = Web::start(|_, _| Does::json(r#"{"status": "paid"}"#));
    let to = elsewhere.url("/stolen");
    let web = Web::start(move |got, _| match got.path.as_str() {
        "/hang" => Does::Hang,
        "/trickle" => Does::Trickle,
        "/flood" => Does::Flood,
        "/head" => Does::FloodHead,
        "/close" => Does::Close,
        _ => Does::Redirect(to.clone()),
    });
    let courier = Courier::new(config());
    for (path, why) in [
        ("/hang", "no answer within"),
        ("/trickle", "did not end in time"),
        ("/flood", "longer than 64 KiB"),
        ("/head", ""),
        ("/close", ""),
        ("/away", "redirects are not followed"),
    ] {
        let begun = Instant::now();
        let said = courier.carry(&payment(&web.url(path), &named)).await;
        assert!(unclear(&said).contains(why), "{path}: {said:?}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{path}: {:?}", begun.elapsed());
    }
    assert_eq!(elsewhere.got().len(), 0, "a redirect was followed");
    // To a letter only the status matters; it was said.
    assert_eq!(courier.carry(&letter(&web.url("/flood"), &named)).await, Said::Yes);
    let nobody = courier.carry(&letter("http://127.0.0.1:1/", &named)).await;
    assert!(unclear(&nobody).contains("refused"), "{nobody:?}");
    let plain = courier.carry(&letter(&web.url("/x").replace("http:", "https:"), &named)).await;
    assert!(unclear(&plain).starts_with("TLS") || unclear(&plain).starts_with("no answer"), "{plain:?}");
}

/// A name that leads outside when it is looked at and inside when it is used would need a second look.
#[tokio::test]
async fn a_name_is_resolved_once_and_the_connection_goes_where_was_looked() {
    let folder = tempfile::tempdir().unwrap();
    let (_, named) = secret(&folder);
    let web = Web::start(|_, _| Does::Answer(200, String::new()));
    let (asked, port) = (Arc::new(AtomicUsize::new(0)), web.address.port());
    let count = asked.clone();
    // First the address that is allowed, then one that is not, and so on in turn.
    let lookup = move |name: &str, port: u16| {
        assert_eq!(name, "hook.example");
        let last = 1 + (count.fetch_add(1, Ordering::SeqCst) % 2) as u8;
        Ok(vec![SocketAddr::from(([127, 0, 0, last], port))])
    };
    let gate = Gate { allowed: vec!["127.0.0.1/32".parse().unwrap()] };
    let courier = Courier::looking_up(Config { gate, ..config() }, lookup);
    let errand = letter(&format!("http://hook.example:{port}/"), &named);
    assert_eq!(courier.carry(&errand).await, Said::Yes);
    assert_eq!((asked.load(Ordering::SeqCst), web.got().len()), (1, 1));
    let said = courier.carry(&errand).await;
    assert!(unclear(&said).contains("127.0.0.2 is not an address of the open Internet"), "{said:?}");
    assert_eq!((asked.load(Ordering::SeqCst), web.got().len()), (2, 1));
}

#[tokio::test]
async fn nothing_inside_is_reached_unless_a_setting_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_, named) = secret(&folder);
    let web = Web::start(|_, _| Does::Answer(200, String::new()));
    let courier = Courier::new(Config { gate: Gate::default(), ..config() });
    for url in [web.url("/"), format!("http://localhost:{}/", web.address.port())] {
        let said = courier.carry(&letter(&url, &named)).await;
        assert!(unclear(&said).contains("not an address of the open Internet"), "{said:?}");
        assert!(courier.check(&url.parse().unwrap()).await.is_err());
    }
    assert_eq!(web.got().len(), 0);
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_sends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let web = Web::start(|_, _| Does::Answer(200, String::new()));
    let courier = Courier::new(config());
    let short = folder.path().join("short");
    std::fs::write(&short, "0123456789abcde\n").unwrap();
    let long = folder.path().join("long");
    std::fs::write(&long, vec![b'x'; 5_000]).unwrap();
    for (named, why) in [
        (format!("file:{}", folder.path().join("none").display()), "No such file"),
        (format!("file:{}", folder.path().display()), "not a file"),
        (format!("file:{}", short.display()), "shorter than 16"),
        (format!("file:{}", long.display()), "longer than 4 KiB"),
        ("env:TOLLBRIDGE_TEST_NO_SUCH_VARIABLE".to_owned(), "cannot be read"),
    ] {
        let said = courier.carry(&letter(&web.url("/"), &named)).await;
        assert!(unclear(&said).contains(why), "{named}: {said:?}");
    }
    assert_eq!(web.got().len(), 0);
}

fn by_mail(mail: &Mail) -> Config {
    let smtp = Smtp {
        host: "127.0.0.1".into(),
        port: mail.address.port(),
        tls: Tls::Off,
        from: "bridge@example.com".parse().unwrap(),
        login: None,
    };
    Config { smtp: Some(smtp), ..config() }
}

#[tokio::test]
async fn mail_is_delivered_and_a_server_that_refuses_or_floods_is_told_of() {
    let mail = Mail::start(Temper::Good);
    assert_eq!(Courier::new(by_mail(&mail)).carry(&mail_to("ops@example.org")).await, Said::Yes);
    let got = &mail.got()[0];
    assert!(got.starts_with("MAIL FROM:<bridge@example.com>"), "{got}");
    assert!(got.contains("RCPT TO:<ops@example.org>") && got.contains("Subject: Acme: the balance is low"), "{got}");
    assert!(got.contains("1.0000 USD is available"), "{got}");

    let refuses = Mail::start(Temper::Refuses);
    let said = Courier::new(by_mail(&refuses)).carry(&mail_to("ops@example.org")).await;
    assert!(unclear(&said).contains("550"), "{said:?}");
    let floods = Mail::start(Temper::Floods);
    let begun = Instant::now();
    let said = Courier::new(by_mail(&floods)).carry(&mail_to("ops@example.org")).await;
    unclear(&said);
    assert!(begun.elapsed() < Duration::from_secs(5), "{said:?}");
    let said = Courier::new(config()).carry(&mail_to("ops@example.org")).await;
    assert!(unclear(&said).contains("notice.smtp"));
    // STARTTLS is wanted and not offered: nothing is said in the clear.
    let mut strict = by_mail(&mail);
    strict.smtp.as_mut().unwrap().tls = Tls::StartTls;
    unclear(&Courier::new(strict).carry(&mail_to("ops@example.org")).await);
    assert_eq!(mail.got().len(), 1);
}

/// A house has its own authority: who names it is believed, by hooks and by both ways of mail; nobody else is.
#[tokio::test]
async fn tls_is_believed_of_the_authorities_that_were_named_and_of_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (_, named) = secret(&folder);
    let (web, mail) = (Web::start(|_, _| Does::Answer(200, String::new())), Mail::start(Temper::Good));
    let behind = |door: &Secure, starttls: Tls| {
        let path = folder.path().join("authority.pem");
        std::fs::write(&path, &door.authority).unwrap();
        let plain = by_mail(&mail).smtp.unwrap();
        let smtp = Smtp { host: "localhost".into(), port: door.address.port(), tls: starttls, ..plain };
        let authorities = read_authorities(&path).unwrap();
        (Config { smtp: Some(smtp.clone()), authorities, ..config() }, Config { smtp: Some(smtp), ..config() })
    };
    let stranger = Secure::before(web.address, false).await;
    let (web_door, mail_door) = (Secure::before(web.address, false).await, Secure::before(mail.address, false).await);
    let starttls_door = Secure::before(mail.address, true).await;
    let hook = letter(&format!("https://localhost:{}/hook", web_door.address.port()), &named);
    let letters = [
        (behind(&web_door, Tls::Off), hook),
        (behind(&mail_door, Tls::Wrapped), mail_to("ops@example.org")),
        (behind(&starttls_door, Tls::StartTls), mail_to("ops@example.org")),
    ];
    for ((believing, strict), errand) in letters {
        let said = Courier::new(strict.clone()).carry(&errand).await;
        assert!(unclear(&said).to_lowercase().contains("certificate"), "{said:?}");
        let others = Config { authorities: behind(&stranger, Tls::Off).0.authorities, ..strict };
        unclear(&Courier::new(others).carry(&errand).await);
        assert_eq!(Courier::new(believing).carry(&errand).await, Said::Yes, "{errand:?}");
    }
    assert_eq!((web.got().len(), mail.got().len()), (1, 2));
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing of the kind").unwrap();
    assert!(read_authorities(&empty).unwrap_err().contains("no certificate"));
    assert!(read_authorities(&folder.path().join("none.pem")).unwrap_err().contains("none.pem"));
}

/// One target hangs, another is served all the same; told to stop, the office does not wait for the one that hangs.
#[tokio::test]
async fn who_hangs_holds_up_nobody_else_and_no_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (_, named) = secret(&folder);
    let web = Web::start(|got, _| if got.path == "/hang" { Does::Hang } else { Does::Answer(200, String::new()) });
    let courier = Courier::new(Config { patience: Duration::from_secs(60), ..config() });
    let (office, inbox, mut wants) = Office::start_with(courier, [1; 32]);
    let (_, want) = wants.recv().await.unwrap();
    assert!(matches!(want, Want::Fetch { .. }), "{want:?}");
    let renamed = |id: &str, path: &str| match letter(&web.url(path), &named) {
        Errand::Letter(letter) => Errand::Letter(Letter { id: id.into(), ..letter }),
        other => other,
    };
    let errands = vec![renamed("a", "/hang"), renamed("b", "/good")];
    assert!(inbox.put(Input::Fetched { errands, next: None }).await);
    let (_, told) = wants.recv().await.unwrap();
    assert_eq!(told, Want::Tell(Report::Delivered { id: "b".into() }));
    let begun = Instant::now();
    office.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    while let Some((_, want)) = wants.recv().await {
        assert!(matches!(want, Want::Fetch { .. }), "what hangs is not reported: {want:?}");
    }
}
