//! sipp asks for passwords, and is asked for them.

use crate::sipp::Sipp;
use crate::world::{CARRIER, World, apply};
use crate::{MACHINE, bridge, caller, charged_once};
use std::net::IpAddr;
use tollbridge::sip::Transport;
use tollbridge::switchboard::ask::{Ask, Told};

const CALLED: &str = "+390699999999";
const CALLS: u32 = 10;
pub const LOGIN: (&str, &str) = ("ali", "open sesame");

/// The name and password that both know; sipp knows MD5 alone, and gives up where it is asked for more.
pub fn digest(world: &World, challenge: &str) -> String {
    let path = world.folder.path().join("password");
    std::fs::write(&path, LOGIN.1).unwrap();
    format!(
        "digest = {{ username = \"{}\", password = \"file:{}\", challenge = \"{challenge}\", algorithm = \"md5\" }}\n",
        LOGIN.0,
        path.display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn its_calls_are_proven() {
    let _turn = MACHINE.read().await;
    let world = bridge().await;
    let source = IpAddr::from(CARRIER);
    let text = format!("[[carrier]]\nid = \"line\"\nsources = [\"{source}\"]\n{}", digest(&world, "calls"));
    apply(world.node.store(), &text).await;
    world.until(|| async { world.carrier.call(CALLED, "nobody").await.err().map(|e| e.status) == Some(401) }).await;
    let sipp = Sipp { calls: CALLS, pause_ms: 1_200, login: Some(LOGIN), ..caller(&world, "digest_call") }.start();
    assert_eq!(sipp.all_well().await.succeeded, u64::from(CALLS));
    charged_once(&world, CALLS as usize).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_register_with_it_and_take_it_back() {
    let _turn = MACHINE.read().await;
    let world = bridge().await;
    let sipp = Sipp::new("registrar", CARRIER).start().listening().await;
    let register = format!(
        "register = {{ registrar = \"udp:{}\", aor = \"sip:12345@peer.example\", expires_s = 600 }}\n",
        sipp.local
    );
    apply(world.node.store(), &format!("[[carrier]]\nid = \"home\"\n{}{register}", digest(&world, "off"))).await;
    world
        .until(|| async {
            let Told::Carriers(carriers) = world.ask(Ask::Carriers).await else { panic!("no carriers") };
            carriers.iter().any(|carrier| carrier.registration.as_deref() == Some("registered"))
        })
        .await;
    assert!(world.node.sip(Transport::Udp).is_some());
    world.end().await;
    assert_eq!(sipp.all_well().await.succeeded, 1, "the last REGISTER takes the registration back");
}
