//! The running bridge, over its HTTP window. What it refuses comes back in plain words.

use super::{Context, Failure};
use crate::api::problem::Body;
use crate::node::TOKEN;
use crate::store::folder_of;
use crate::types::OrganisationId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use ureq::http::Response;

/// The bridge is near: whoever does not take a connection by then is not there.
const CONNECT: Duration = Duration::from_secs(2);
/// A bridge that answers at all tells so at once.
const GREETING: Duration = Duration::from_secs(2);
/// An answer from memory or from a page of the store.
const ANSWER: Duration = Duration::from_secs(30);
/// A deck of 200,000 rows, the audit or the records of a whole store.
const LONG_ANSWER: Duration = Duration::from_secs(600);
/// The longest answer taken: a million usage records.
const LONGEST_ANSWER: u64 = 4 << 30;

/// A bridge that answers.
pub(super) struct Bridge {
    agent: ureq::Agent,
    base: String,
    token: String,
    token_file: PathBuf,
}

/// Whose legs and meetings.
#[derive(clap::Args)]
pub struct Whose {
    /// Of this organisation alone; without it of all, or of the one that the token opens
    #[arg(long, value_name = "ORGANISATION")]
    org: Option<OrganisationId>,
}

impl Whose {
    /// The bridge, and before which path it is asked.
    pub fn reach(&self, context: &Context) -> Result<(Bridge, String), Failure> {
        let bridge = Bridge::reach(context)?;
        let below = bridge.below(self.org.as_ref())?;
        Ok((bridge, below))
    }
}

/// Whether an order may take long.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    Short,
    Long,
}

impl Bridge {
    /// The bridge of these settings, if one answers; else what was tried, and how to start one.
    pub fn reach(context: &Context) -> Result<Bridge, Failure> {
        let address = reachable(context.settings.api.listen);
        let base = format!("http://{address}");
        let no = |why: String| Failure(format!("no bridge answers at {base}: {why}. {}", how_to_start(context)));
        if address.port() == 0 {
            return Err(no("api.listen has port 0, which tells no command where to look".into()));
        }
        let agent = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .build()
            .new_agent();
        let greeted = agent.get(format!("{base}/health/live")).config().timeout_global(Some(GREETING)).build().call();
        greeted.map_err(|error| no(told(&error)))?;
        let token_file = token_file(context);
        let token = std::fs::read_to_string(&token_file)
            .map_err(|error| no(format!("its token is not in {}: {error}", token_file.display())))?;
        Ok(Bridge { agent, base, token: token.trim().to_owned(), token_file })
    }

    /// What stands before the path of a question: the organisation that is named, or the one that the token opens; nothing
    /// where the house is asked.
    pub fn below(&self, org: Option<&OrganisationId>) -> Result<String, Failure> {
        if let Some(org) = org {
            return Ok(format!("/organisations/{org}"));
        }
        let caller: serde_json::Value = self.get("/token")?;
        let own = caller["organisation"].as_str();
        Ok(own.map(|own| format!("/organisations/{own}")).unwrap_or_default())
    }

    /// As [`Bridge::below`], of a name that nobody has read yet: it stands in a path.
    pub fn below_named(&self, org: Option<&str>) -> Result<String, Failure> {
        self.below(org.map(str::parse).transpose()?.as_ref())
    }

    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read(&self.get_text(path, &())?)
    }

    /// The text of an answer, whatever its form. `query` is a flat structure; what is none is left out.
    pub fn get_text(&self, path: &str, query: &impl Serialize) -> Result<String, Failure> {
        let request = self.agent.get(self.url(path)).header("Authorization", self.bearer());
        let request = request.query_pairs(pairs(query)?).config().timeout_global(Some(LONG_ANSWER)).build();
        self.answer(request.call())
    }

    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize, pace: Pace) -> Result<T, Failure> {
        read(&self.order(path, body, pace)?)
    }

    /// An order whose answer is empty.
    pub fn order(&self, path: &str, body: &impl Serialize, pace: Pace) -> Result<String, Failure> {
        let patience = match pace {
            Pace::Short => ANSWER,
            Pace::Long => LONG_ANSWER,
        };
        let request = self.agent.post(self.url(path)).header("Authorization", self.bearer());
        self.answer(request.config().timeout_global(Some(patience)).build().send_json(body))
    }

    pub fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let request = self.agent.put(self.url(path)).header("Authorization", self.bearer());
        read(&self.answer(request.config().timeout_global(Some(ANSWER)).build().send_json(body))?)
    }

    /// `None` where there is nothing to change.
    pub fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<Option<T>, Failure> {
        let request = self.agent.patch(self.url(path)).header("Authorization", self.bearer());
        let answered = request.config().timeout_global(Some(ANSWER)).build().send_json(body);
        if answered.as_ref().is_ok_and(|answer| answer.status() == 404) {
            return Ok(None);
        }
        read(&self.answer(answered)?).map(Some)
    }

    pub fn delete(&self, path: &str) -> Result<(), Failure> {
        self.take(path).map(drop)
    }

    /// The text of the answer to a removal.
    pub fn take(&self, path: &str) -> Result<String, Failure> {
        let request = self.agent.delete(self.url(path)).header("Authorization", self.bearer());
        self.answer(request.config().timeout_global(Some(ANSWER)).build().call())
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.base)
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    fn answer(&self, answered: Result<Response<ureq::Body>, ureq::Error>) -> Result<String, Failure> {
        let broken =
            |error: ureq::Error| Failure(format!("the bridge at {} did not answer: {}", self.base, told(&error)));
        let mut answer = answered.map_err(broken)?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string().map_err(broken)?;
        if status.is_success() {
            return Ok(text);
        }
        if status == 401 {
            return Err(Failure(format!(
                "the bridge at {} does not take the token in {}: it is another bridge's, or no longer in force. Name the \
                 address or the store of the bridge you mean (--config, TOLLBRIDGE__API__LISTEN, TOLLBRIDGE__STORE__URL)",
                self.base,
                self.token_file.display()
            )));
        }
        match serde_json::from_str::<Body>(&text) {
            Ok(body) => Err(Failure(body.to_string())),
            Err(_) => Err(Failure(format!("what answers at {} with status {status} is no tollbridge", self.base))),
        }
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| Failure(format!("the bridge's answer is not understood: {error}")))
}

fn pairs(query: &impl Serialize) -> Result<Vec<(String, String)>, Failure> {
    let serde_json::Value::Object(fields) = serde_json::to_value(query)? else { return Ok(Vec::new()) };
    let text = |value: serde_json::Value| match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    Ok(fields.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect())
}

fn told(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "nobody listens there".into()
        }
        ureq::Error::Timeout(_) => "no answer in time".into(),
        other => other.to_string(),
    }
}

/// A bridge that listens on every address is reached on this machine's own.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let own = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(own, listen.port())
}

fn token_file(context: &Context) -> PathBuf {
    let settings = &context.settings;
    settings
        .api
        .token_file
        .clone()
        .unwrap_or_else(|| folder_of(&settings.store_url, &settings.store_folder).join(TOKEN))
}

fn how_to_start(context: &Context) -> String {
    let config = context.config.as_ref().map(|path| format!(" --config {}", path.display())).unwrap_or_default();
    format!(
        "Start one with `tollbridge serve{config}`, or name the address of the one that runs ([api] listen, or \
         TOLLBRIDGE__API__LISTEN)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_query_leaves_out_what_is_none() {
        let query = crate::api::money::UsageQuery { org: Some("aurora".into()), ..Default::default() };
        assert_eq!(pairs(&query).unwrap(), [("org".to_owned(), "aurora".to_owned())]);
        assert_eq!(pairs(&()).unwrap(), []);
    }

    #[test]
    fn a_bridge_on_every_address_is_reached_on_this_machine() {
        for (listen, reached) in
            [("0.0.0.0:8080", "127.0.0.1:8080"), ("[::]:80", "[::1]:80"), ("192.0.2.1:1", "192.0.2.1:1")]
        {
            assert_eq!(reachable(listen.parse().unwrap()), reached.parse().unwrap());
        }
    }

    #[test]
    fn the_token_stands_beside_the_store_however_it_is_named() {
        for (url, folder) in [
            ("sqlite:data/x.db", "data"),
            ("sqlite://data/x.db", "data"),
            ("sqlite:x.db", ""),
            ("postgres://host/x", "mine"),
        ] {
            assert_eq!(folder_of(url, Path::new("mine")), Path::new(folder), "{url}");
        }
    }
}
