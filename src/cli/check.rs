//! `tollbridge check`: the settings were read before any command runs, so what is left is to say so.

use super::{Context, Done, say};

pub fn run(context: &Context) -> Done {
    let settings = &context.settings;
    if context.json {
        return say("{\"mistakes\":[]}\n");
    }
    let listen: Vec<String> = settings.sip.listen.iter().map(ToString::to_string).collect();
    let ports = &settings.media.ports.0;
    say(&format!(
        "settings are good\n  sip    {}\n  media  {} ports {}-{}\n  api    http://{}\n  store  {}\n",
        listen.join(", "),
        settings.media.bind,
        ports.start(),
        ports.end(),
        settings.api.listen,
        crate::store::shown(&settings.store_url)
    ))
}
