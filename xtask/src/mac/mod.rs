//! `make mac`: everything about the Mac that Linux can prove. `docs/mac.md` says what each step proves and what none does.
//!
//! ```text
//!  tools ─▶ delegates, clippy ─▶ stubs ─▶ build ─▶ sign ─▶ verify, dylibs, size ─▶ scenarios ─▶ surface
//! ```
//!
//! A step is a row of [`STEPS`]: it says in one line what it found, or fails. The steps depend on nothing but the files that
//! those before it left, so that `planted` can plant a fault and run the step that must notice it.

mod binding;
mod build;
mod bytes;
mod entitlements;
mod macho;
mod planted;
mod scenarios;
mod sign;
mod signature;
mod source;
mod stubs;
mod surface;
mod surface_table;
mod surface_uses;
mod toolchain;
mod verify;
mod whole;
mod workshop;

use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use workshop::Workshop;

/// One thing to prove.
struct Step {
    name: &'static str,
    run: fn(&Workshop) -> Result<String>,
}

const STEPS: [Step; 11] = [
    Step { name: "tools", run: toolchain::check },
    Step { name: "delegates", run: surface::check_delegates },
    Step { name: "clippy", run: build::clippy },
    Step { name: "stubs", run: stubs::write },
    Step { name: "build", run: |work| build::build(work, &build::PROGRAMS) },
    Step { name: "sign", run: |work| sign::sign(work, &build::PROGRAMS) },
    Step { name: "verify", run: |work| verify::signatures(work, &build::PROGRAMS) },
    Step { name: "dylibs", run: verify::libraries },
    Step { name: "size", run: verify::size },
    Step { name: "scenarios", run: scenarios::run },
    Step { name: "surface", run: surface::check },
];

/// `cargo xtask mac [surface | planted [TEXT] | only STEP…]`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let work = Workshop::open()?;
    let _lock = work.lock()?;
    match words.as_slice() {
        [] => all(&work),
        ["surface"] => surface::write(&work),
        ["planted"] => planted::run(&work, ""),
        ["planted", text] => planted::run(&work, text),
        ["only", names @ ..] if !names.is_empty() => {
            for name in names {
                step(&work, find(name)?)?;
            }
            Ok(())
        }
        _ => {
            bail!("usage: cargo xtask mac [surface | planted [TEXT] | only STEP…], with STEP of {}", names())
        }
    }
}

fn all(work: &Workshop) -> Result<()> {
    let started = Instant::now();
    for each in &STEPS {
        step(work, each)?;
    }
    println!(
        "the Mac's build is in order, as far as Linux can tell ({:.1} s)",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

fn step(work: &Workshop, step: &Step) -> Result<()> {
    let started = Instant::now();
    let outcome = (step.run)(work).with_context(|| format!("make mac: the step `{}` failed", step.name))?;
    println!("{:<10} {:>6.1} s  {outcome}", step.name, started.elapsed().as_secs_f64());
    Ok(())
}

fn find(name: &str) -> Result<&'static Step> {
    STEPS
        .iter()
        .find(|step| step.name == name)
        .with_context(|| format!("there is no step `{name}`, only {}", names()))
}

fn names() -> String {
    STEPS.iter().map(|step| step.name).collect::<Vec<_>>().join(", ")
}
