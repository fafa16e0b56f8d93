//! A long storm: the hazard of that name, for minutes instead of seconds.
//!
//! It is the very test (`tests/it/hazards/storm.rs`), so that both ask for the same and what the long one finds can be
//! looked for with the short one.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::repository;

const USAGE: &str = "usage: cargo xtask storm [--minutes N] [--vms N] [--seed N]";

/// `cargo xtask storm`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (mut minutes, mut vms, mut seed) = (5, 20, None);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let number: u64 = words.next().and_then(|word| word.parse().ok()).context(USAGE)?;
        match word.as_str() {
            "--minutes" if (1..=24 * 60).contains(&number) => minutes = number,
            "--vms" if (1..=200).contains(&number) => vms = number,
            "--seed" => seed = Some(number),
            _ => bail!(USAGE),
        }
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["test", "--quiet", "--locked", "--package", "selfsame", "--test", "it", "--"])
        .args(["--exact", "hazards::storm::hazard_a_storm_of_commands_and_kills", "--nocapture"])
        .current_dir(repository::root()?)
        .env("SELFSAME_STORM_SECONDS", (minutes * 60).to_string())
        .env("SELFSAME_STORM_VMS", vms.to_string());
    if let Some(seed) = seed {
        command.env("SELFSAME_STORM_SEED", seed.to_string());
    }
    let status = command.status().context("cannot run `cargo test`")?;
    if !status.success() {
        bail!("the storm broke something ({status})");
    }
    Ok(())
}
