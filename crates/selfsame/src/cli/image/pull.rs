//! `selfsame image pull`.

use std::ffi::OsString;

use selfsame_host::context::Context;
use selfsame_host::images::{Images, Source, Vouched};
use selfsame_machine::architecture::Architecture;
use selfsame_machine::code::Exit;
use selfsame_machine::image::checksum::Checksum;

use super::{ProgressLine, document};
use crate::cli::create::Arch;
use crate::cli::{Global, Outcome, usage_problem};
use crate::output::{Format, data, json, note};

/// Fetch an image, or a newer build of one that is kept
///
/// An official image is checked by its publisher's checksum file. A fetch that was cut goes on where it ended.
///
/// Example: selfsame image pull debian-13
///
/// Example: selfsame image pull https://example.org/disk.qcow2
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// A name, as `image list` shows it, or an address
    #[arg(value_name = "NAME|URL")]
    image: OsString,
    /// The architecture of an official image [default: this host's]
    #[arg(long, value_enum, value_name = "ARCH")]
    arch: Option<Arch>,
    /// The hash that it must have: SHA-256 or SHA-512, in hexadecimal
    #[arg(long, value_name = "HEX")]
    sha256: Option<Checksum>,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let source = Source::of(&arguments.image)?;
    if let Source::File(path) = &source {
        return Err(usage_problem(format!("`{}` is a file, and here already", path.display())));
    }
    let architecture = arguments.arch.map_or_else(Architecture::of_new_guests, Arch::architecture);
    let images = Images::of(&context.prepare()?);
    let mut display = ProgressLine::new(global);
    let checksum = arguments.sha256.as_ref();
    let got = images.get(&source, architecture, checksum, true, &mut |progress| display.show(&progress));
    display.end();
    let got = got?;
    if global.format == Format::Json {
        json(&serde_json::json!({ "schema": "image/1", "image": document(&got) }));
    } else if global.quiet {
        data(&format!("{}\n", got.path.display()));
    } else {
        let what = if got.fetched { "fetched" } else { "the newest is here already" };
        data(&format!("{what}: `{}`, vouched for by {}\n", got.path.display(), got.vouched.text()));
    }
    if got.vouched == Vouched::Nobody {
        note("note: nobody vouches for the image: say `--sha256` with the hash that its publisher names");
    }
    Ok(Exit::Ok)
}
