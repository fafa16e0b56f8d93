//! `selfsame screenshot`.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selfsame_host::context::Context;
use selfsame_host::files::{FileError, write_atomically, write_new};
use selfsame_host::library::find;
use selfsame_host::supervisor::SupervisorError;
use selfsame_machine::code::Exit;

use super::run::names;
use super::{Global, Outcome, request, usage_problem};
use crate::output::{Format, bytes, data, json, path};

/// How long a picture may take: QEMU makes one in 20 ms, and much later when the host has too much to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Make a picture of a guest's screen
///
/// In PNG, into NAME.png unless told otherwise. A file that exists is replaced only with `--yes`. The guest needs a screen:
/// `set --display vga` gives it one, and so does `create` unless told otherwise.
///
/// Example: selfsame screenshot web1 -o boot.png
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The VM: its name, or a path
    #[arg(value_name = "NAME")]
    vm: OsString,
    /// The file, or `-` for standard output
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
    output: Option<PathBuf>,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let folder = find(context, &arguments.vm)?;
    let (name, names) = (context.named(&folder), names(&folder)?);
    let to_stdout = arguments.output.as_deref() == Some(Path::new("-"));
    if to_stdout && (global.format == Format::Json || std::io::stdout().is_terminal()) {
        let else_where = if global.format == Format::Json { "a JSON document" } else { "a terminal" };
        return Err(usage_problem(format!("a picture is nothing for {else_where}: name a file with `-o`")));
    }
    let file = arguments.output.clone().unwrap_or_else(|| {
        let word: String = name.name.chars().map(|c| if c == '/' { '_' } else { c }).collect();
        PathBuf::from(format!("{word}.png"))
    });
    // Asked before there is a picture: nobody is to make it twice.
    if !to_stdout && !global.yes && std::fs::symlink_metadata(&file).is_ok() {
        return Err(FileError::Exists { path: file }.into());
    }
    let not_running = || SupervisorError::NotRunning { name: name.clone() };
    let mut client = request::reach(context, &folder, names)?.ok_or_else(not_running)?;
    let picture = client.screenshot(PATIENCE)?;
    if to_stdout {
        bytes(&picture);
        return Ok(Exit::Ok);
    }
    if global.yes { write_atomically(&file, &picture) } else { write_new(&file, &picture) }?;
    let (shown, base64) = path(&file);
    match global.format {
        Format::Json => json(&serde_json::json!({
            "schema": "screenshot/1", "name": name.name, "path": shown, "path_base64": base64,
            "bytes": picture.len(),
        })),
        Format::Text if global.quiet => data(&format!("{shown}\n")),
        Format::Text => data(&crate::report::printable(&format!(
            "`{shown}`: the screen of {name}, {} bytes\n",
            picture.len()
        ))),
    }
    Ok(Exit::Ok)
}
