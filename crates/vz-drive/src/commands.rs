//! The commands.

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use selfsame_machine::identity::{Blob, Ecid, GenericId, Identity, Kind};
use selfsame_machine::lifecycle::{Order, Request};
use selfsame_vz::{entitled, facts, fresh_identifier, written_back};

use crate::drive::Drive;

pub(crate) fn main() -> ExitCode {
    eprintln!("{}", selfsame_vz::EXPERIMENTAL);
    match commands() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(std::io::stdout().flush());
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn commands() -> Result<()> {
    let mut drive = Drive::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_ascii_whitespace().take_while(|word| *word != "#").collect();
        if !words.is_empty() {
            command(&mut drive, &words).with_context(|| line.clone())?;
        }
    }
    Ok(())
}

fn command(drive: &mut Drive, words: &[&str]) -> Result<()> {
    match words {
        ["entitlement"] => {
            println!(
                "entitlement {}",
                entitled().map_or("unknown", |has| if has { "present" } else { "missing" })
            );
            Ok(())
        }
        ["supported"] => {
            let facts = facts();
            println!("supported {}", facts.supported);
            println!("saves {}", facts.saves);
            println!("most cpus {}, most memory {} bytes", facts.most_cpus, facts.most_memory);
            Ok(())
        }
        ["identifier", "new", kind, file] => fresh(kind_of(kind)?, Path::new(file)),
        ["identifier", "round", kind, count] => round(kind_of(kind)?, count.parse()?),
        ["vm", name, folder] => drive.add(name, Path::new(folder)),
        ["drop", name] => drive.remove(name),
        ["start", name] => drive.request(name, Request::Start { paused: false }),
        ["start", name, "paused"] => drive.request(name, Request::Start { paused: true }),
        ["restore", name, file] => drive.order(name, Order::Restore { from: file.into() }),
        ["save", name, file] => drive.order(name, Order::Save { to: file.into() }),
        ["pause", name] => drive.request(name, Request::Pause),
        ["resume", name] => drive.request(name, Request::Resume),
        ["kill", name] => drive.request(name, Request::Kill),
        ["stop", name, seconds] => {
            let timeout_ms = seconds.parse::<u64>()?.saturating_mul(1_000);
            drive.request(name, Request::Stop { timeout_ms })
        }
        ["wait", name, phase] => wait(drive, name, phase, 30),
        ["wait", name, phase, seconds] => wait(drive, name, phase, seconds.parse()?),
        ["run", seconds] => {
            drive.run(Duration::from_secs_f64(seconds.parse()?), |_| false)?;
            Ok(())
        }
        _ => bail!("no such command"),
    }
}

fn wait(drive: &mut Drive, name: &str, phase: &str, seconds: u64) -> Result<()> {
    let came = drive.run(Duration::from_secs(seconds), |drive| drive.is_in(name, phase))?;
    ensure!(came, "{name} is {} after {seconds} s, not {phase}", drive.phase(name));
    Ok(())
}

fn kind_of(word: &str) -> Result<Kind> {
    match word {
        "macos" => Ok(Kind::Mac),
        "linux" => Ok(Kind::Generic),
        _ => bail!("{word} is neither macos nor linux"),
    }
}

fn fresh(kind: Kind, file: &Path) -> Result<()> {
    let bytes = fresh_identifier(kind);
    let identity = Blob::read(&bytes).require()?;
    ensure!(identity.kind() == kind, "the framework made {identity}");
    std::fs::write(file, &bytes).with_context(|| file.display().to_string())?;
    println!("identifier {identity}, {} bytes", bytes.len());
    Ok(())
}

/// Both ways: what we write, the framework reads and writes back byte for byte; what it makes, we read and write back so.
fn round(kind: Kind, count: u64) -> Result<()> {
    for index in 0..count {
        let ours = sample(kind, index)?;
        let bytes = ours.to_bytes();
        let back = written_back(kind, &bytes).with_context(|| format!("the framework refuses {ours}"))?;
        ensure!(back == bytes, "the framework writes {ours} as {back:02x?}, we as {bytes:02x?}");
        let theirs = fresh_identifier(kind);
        let identity = Blob::read(&theirs).require()?;
        ensure!(identity.kind() == kind, "the framework made {identity}");
        ensure!(
            identity.to_bytes() == theirs,
            "we write {identity} otherwise than the framework: {theirs:02x?}"
        );
    }
    println!("identifiers {count} of {count}");
    Ok(())
}

/// Values all over the range: the edges of the property list's integer sizes first, then well mixed ones.
fn sample(kind: Kind, index: u64) -> Result<Identity> {
    let edges = [1 << 56, (1 << 63) - 1, 1 << 63, u64::MAX];
    let edge = usize::try_from(index).ok().and_then(|index| edges.get(index)).copied();
    // Multiplication by an odd number visits every value of 64 bits once.
    let mixed = edge.unwrap_or_else(|| (index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 << 56);
    Ok(match kind {
        Kind::Mac => Identity::Mac(Ecid::new(mixed)),
        Kind::Generic => {
            // The two halves differ always: a UUID of ones only means "not set" to firmware, and is refused.
            let uuid = uuid::Uuid::from_u64_pair(mixed, !mixed);
            Identity::Generic(GenericId::try_from(uuid)?)
        }
    })
}
