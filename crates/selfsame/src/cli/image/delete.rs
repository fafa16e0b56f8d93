//! `selfsame image delete`.

use selfsame_host::context::Context;
use selfsame_host::images::{Images, published};
use selfsame_machine::architecture::Architecture;
use selfsame_machine::code::Exit;
use selfsame_machine::image::find;

use crate::cli::{Global, Outcome};
use crate::output::{Format, data, json};

/// Delete images that are kept here
///
/// VMs that were made of them have copies of their own. An image can be fetched again, so nobody is asked.
///
/// Example: selfsame image delete debian-13
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Names or file names, as `image list` shows them
    #[arg(required = true, value_name = "NAME|FILE")]
    kept: Vec<String>,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let images = Images::of(&context.home);
    let mut deleted = Vec::new();
    for name in &arguments.kept {
        let file = match find(name) {
            Some(official) => published(official, Architecture::of_new_guests()).file,
            None => name,
        };
        images.delete(file)?;
        deleted.push(file.to_owned());
    }
    if global.format == Format::Json {
        json(&serde_json::json!({ "schema": "images_deleted/1", "files": deleted }));
    } else {
        let said =
            |file: &String| if global.quiet { format!("{file}\n") } else { format!("{file} was deleted\n") };
        data(&deleted.iter().map(said).collect::<String>());
    }
    Ok(Exit::Ok)
}
