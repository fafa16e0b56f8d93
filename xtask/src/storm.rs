//! Has the storm of the hazards blow for longer: many VMs, started and killed by several at once, supervisors killed at
//! random, and a watch that no two with one identity live.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::repository;

/// `cargo xtask storm [--minutes N]`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let minutes: u32 = match arguments {
        [] => 5,
        [option, number] if option == "--minutes" => {
            number.parse().ok().filter(|minutes| (1..=600).contains(minutes)).context("minutes: 1 to 600")?
        }
        _ => bail!("usage: cargo xtask storm [--minutes N]"),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["test", "--quiet", "--package", "selfsame", "--test", "it", "--"])
        .args(["hazard_a_storm_of_commands_and_kills", "--nocapture"])
        .env("SELFSAME_STORM_SECONDS", (minutes * 60).to_string())
        .current_dir(repository::root()?)
        .status()
        .context("cannot run `cargo test`")?;
    if !status.success() {
        bail!("the storm left something behind ({status})");
    }
    Ok(())
}
