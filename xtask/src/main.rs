//! The project's own chores, as `cargo xtask NAME`. Nothing here is part of the product.
//!
//! A chore is a function in a module of its own and one row of [`CHORES`].

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "chores talk to the person at the terminal")]

mod bench;
mod check;
mod guest;
mod hazards;
mod mac;
mod man;
mod repository;
mod run;
mod storm;

use std::process::ExitCode;

/// One chore.
struct Chore {
    name: &'static str,
    summary: &'static str,
    run: fn(&[String]) -> anyhow::Result<()>,
}

const CHORES: &[Chore] = &[
    Chore {
        name: "bench",
        summary: "Measure against the promised numbers (--quick: shorter, --strict: a miss is an error)",
        run: bench::run,
    },
    Chore { name: "check", summary: "Check what the compiler and the linter do not", run: check::run },
    Chore {
        name: "guest",
        summary: "Make the test guest in target/guest (--fresh: with the newest packages; --generic, --aarch64, --debian: one of the others; --all)",
        run: guest::run,
    },
    Chore {
        name: "mac",
        summary: "Prove on Linux what can be proved of the Mac's build (surface: write its document, planted: plant faults)",
        run: mac::run,
    },
    Chore { name: "man", summary: "Write the manual pages to target/man", run: man::run },
    Chore { name: "hazards", summary: "Run the named hazards and count them", run: hazards::run },
    Chore {
        name: "storm",
        summary: "Start, stop, suspend and kill many VMs at once (--minutes N, --vms N, --seed N)",
        run: storm::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("", String::as_str);
    let Some(chore) = CHORES.iter().find(|chore| chore.name == name) else {
        return usage(name);
    };
    match (chore.run)(arguments.get(1..).unwrap_or_default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("caused by: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Lists the chores, as help or because `name` is none of them.
fn usage(name: &str) -> ExitCode {
    let mut text = String::from("Usage: cargo xtask CHORE\n\n");
    for chore in CHORES {
        text.push_str(&format!("  {:<10}{}\n", chore.name, chore.summary));
    }
    if matches!(name, "" | "help" | "-h" | "--help") {
        print!("{text}");
        ExitCode::SUCCESS
    } else {
        eprint!("error: there is no chore `{name}`\n\n{text}");
        ExitCode::from(2)
    }
}
