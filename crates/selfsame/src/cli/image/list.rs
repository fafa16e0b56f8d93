//! `selfsame image list`.

use selfsame_host::context::Context;
use selfsame_host::images::{Here, Images, published};
use selfsame_machine::architecture::Architecture;
use selfsame_machine::code::Exit;
use selfsame_machine::image::official;

use crate::cli::{Global, Outcome};
use crate::output::{Format, Table, data, json, path};

/// Show the official images, and those that are kept here
///
/// Example: selfsame image list
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {}

pub(super) fn run(context: &Context, global: &Global, _arguments: &Arguments) -> Outcome {
    let here = Images::of(&context.home).list()?;
    let known: Vec<_> = official()
        .iter()
        .map(|official| (official, published(official, Architecture::of_new_guests())))
        .collect();
    let of = |file: &str| here.iter().find(|here| here.file == file && !here.partial);
    let others = || here.iter().filter(|here| here.partial || known.iter().all(|(_, p)| p.file != here.file));
    if global.format == Format::Json {
        let official: Vec<_> = known
            .iter()
            .map(|(official, published)| {
                serde_json::json!({
                    "name": official.name,
                    "title": official.title,
                    "login_user": official.user,
                    "architecture": Architecture::of_new_guests().text(),
                    "url": published.url(),
                    "checksums_url": published.checksums_url(),
                    "kept": of(published.file).map(document),
                })
            })
            .collect();
        let others: Vec<_> = others().map(document).collect();
        json(&serde_json::json!({ "schema": "images/1", "official": official, "others": others }));
        return Ok(Exit::Ok);
    }
    if global.quiet {
        data(&known.iter().map(|(official, _)| format!("{}\n", official.name)).collect::<String>());
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(["NAME", "WHAT", "USER", "KEPT", "VOUCHED FOR BY"]);
    let (nobody, none) = ("nobody".to_owned(), "-".to_owned());
    let vouched = |here: &Here| {
        here.kept.as_ref().map_or_else(|| nobody.clone(), |kept| kept.vouched.text().to_owned())
    };
    for (official, published) in &known {
        let here = of(published.file);
        table.row([
            official.name.to_owned(),
            official.title.to_owned(),
            official.user.to_owned(),
            here.map_or_else(|| none.clone(), size),
            here.map_or_else(|| none.clone(), &vouched),
        ]);
    }
    for here in others() {
        let what = match (&here.kept, here.partial) {
            (_, true) => "not whole yet".to_owned(),
            (Some(kept), false) => kept.url.clone(),
            (None, false) => "put there by hand".to_owned(),
        };
        let vouched = if here.partial { none.clone() } else { vouched(here) };
        table.row([here.file.clone(), what, none.clone(), size(here), vouched]);
    }
    data(&table.render());
    Ok(Exit::Ok)
}

fn size(here: &Here) -> String {
    format!("{} MiB", here.size.count().div_ceil(1 << 20))
}

fn document(here: &Here) -> serde_json::Value {
    let (path, path_base64) = path(&here.path);
    let kept = here.kept.as_ref();
    serde_json::json!({
        "file": here.file,
        "path": path,
        "path_base64": path_base64,
        "size": here.size,
        "partial": here.partial,
        "url": kept.map(|kept| &kept.url),
        "checksum": kept.and_then(|kept| kept.checksum.as_ref()),
        "vouched": kept.map(|kept| kept.vouched),
        "fetched": kept.map(|kept| &kept.fetched),
    })
}
