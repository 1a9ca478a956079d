//! `tollbridge check`: the settings were read before any command runs, so what is left is to say so.

use super::{Context, Done};

pub fn run(context: &Context) -> Done {
    let settings = &context.settings;
    if context.json {
        println!("{{\"mistakes\":[]}}");
        return Ok(());
    }
    let listen: Vec<String> = settings.sip.listen.iter().map(ToString::to_string).collect();
    println!("settings are good");
    println!("  sip    {}", listen.join(", "));
    println!(
        "  media  {} ports {}-{}",
        settings.media.bind,
        settings.media.ports.0.start(),
        settings.media.ports.0.end()
    );
    println!("  api    http://{}", settings.api.listen);
    println!("  store  {}", settings.store_url);
    Ok(())
}
