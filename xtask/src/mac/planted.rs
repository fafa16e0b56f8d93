//! The tests of the tests: plants one fault after the other, and sees that the step that is there for it fails, for it.
//!
//! The sources are copied to a clone below `target/mac/planted`, with a build of its own that begins as a copy of the real
//! one, so a fault costs a build of what it touches and never gets into a real program. Each step must pass before the fault is planted: else its failing proves nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use super::build::{self, DRIVE};
use super::workshop::Workshop;
use super::{scenarios, sign, stubs, surface, toolchain, verify};
use crate::run;

/// One fault.
struct Fault {
    name: &'static str,
    change: Change,
    /// The step that must fail.
    step: Step,
    /// What it must say, among other things.
    says: &'static str,
}

enum Change {
    /// In a file of the sources, the one place where `from` stands.
    Replace { file: &'static str, from: &'static str, to: &'static str },
    /// One bit in the middle of the signed `vz-drive`.
    Flip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Clippy,
    Delegates,
    Build,
    Verify,
    /// One scenario of the emulator's.
    Scenario(&'static str),
}

const FAULTS: [Fault; 7] = [
    Fault {
        name: "a value of a wrong type in a call",
        change: Change::Replace {
            file: "crates/vz/src/framework/queue.rs",
            from: "DispatchQueue::new(label, DispatchQueueAttr::SERIAL)",
            to: "DispatchQueue::new(label, 1_u32)",
        },
        step: Step::Clippy,
        says: "mismatched types",
    },
    Fault {
        name: "a misspelt selector in the delegate, found in the source",
        change: Change::Replace {
            file: "crates/vz/src/framework/delegate.rs",
            from: "method(virtualMachine:didStopWithError:)",
            to: "method(virtualMachine:didStopWithErrr:)",
        },
        step: Step::Delegates,
        says: "VZVirtualMachineDelegate has no `virtualMachine:didStopWithErrr:`",
    },
    Fault {
        name: "a misspelt selector in the delegate, found by the emulator",
        change: Change::Replace {
            file: "crates/vz/src/framework/delegate.rs",
            from: "method(virtualMachine:didStopWithError:)",
            to: "method(virtualMachine:didStopWithErrr:)",
        },
        step: Step::Scenario("the_delegate_has_exactly_the_protocols_methods"),
        says: "virtualMachine:didStopWithErrr:",
    },
    Fault {
        name: "work that does not go to the machine's queue",
        change: Change::Replace {
            file: "crates/vz/src/framework/queue.rs",
            from: "self.0.exec_async(move || on(&queue, work));",
            to: "on(&queue, work);",
        },
        step: Step::Scenario("every_touch_of_a_machine_is_on_its_queue"),
        says: "not on the machine's queue",
    },
    Fault {
        name: "a symbol that no library has",
        change: Change::Replace { file: "xtask/src/mac/symbols.toml", from: "\"_VZErrorDomain\"", to: "" },
        step: Step::Build,
        says: "undefined symbol: _VZErrorDomain",
    },
    Fault {
        name: "an entitlement that is not the one that is asked for",
        change: Change::Replace {
            file: "mac/selfsame.entitlements",
            from: "com.apple.security.virtualization",
            to: "com.apple.security.hypervisor",
        },
        step: Step::Scenario("a_guest_lives_on_every_supported_macos"),
        says: "vz.unentitled",
    },
    Fault {
        name: "a flipped bit in the signed file",
        change: Change::Flip,
        step: Step::Verify,
        says: "does not fit its hash",
    },
];

/// `cargo xtask mac planted [TEXT]`: all faults, or those with the text in their names.
pub(super) fn run(work: &Workshop, text: &str) -> Result<()> {
    let faults: Vec<&Fault> = FAULTS.iter().filter(|fault| fault.name.contains(text)).collect();
    ensure!(!faults.is_empty(), "no planted fault has `{text}` in its name");
    let started = Instant::now();
    toolchain::check(work)?;
    let place = work.out.join("planted");
    let clone = Workshop {
        root: place.join("tree"),
        build: place.join("build"),
        signed: place.join("signed"),
        ..work.clone()
    };
    copy(&work.root, &clone.root)?;
    copy_build(work, &clone)?;
    for step in faults.iter().map(|fault| fault.step).collect::<BTreeSet<_>>() {
        take(&clone, step)
            .with_context(|| format!("{step:?} fails without a fault, so none can be planted"))?;
    }
    println!("{:>6.1} s  all steps pass without a fault", started.elapsed().as_secs_f64());
    let mut unnoticed = 0;
    for fault in &faults {
        let begun = Instant::now();
        let verdict = plant(&clone, fault)?;
        let word = if verdict.is_none() { "noticed" } else { "MISSED" };
        println!("{:>6.1} s  {word}: {}, by {:?}", begun.elapsed().as_secs_f64(), fault.name, fault.step);
        if let Some(verdict) = verdict {
            println!("{verdict}");
            unnoticed += 1;
        }
    }
    ensure!(
        unnoticed == 0,
        "{unnoticed} of {} planted faults were not noticed for what they are",
        faults.len()
    );
    println!(
        "{} planted faults, each noticed for what it is ({:.1} s)",
        faults.len(),
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Plants a fault, takes the step, and takes the fault away again. Gives what is wrong when it was not noticed.
fn plant(clone: &Workshop, fault: &Fault) -> Result<Option<String>> {
    let outcome = match fault.change {
        Change::Replace { file, from, to } => {
            let path = clone.root.join(file);
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {file}"))?;
            let changed = replaced(&text, from, to)
                .with_context(|| format!("cannot plant {} in {file}", fault.name))?;
            fs::write(&path, changed).with_context(|| format!("cannot write {file}"))?;
            let outcome = take(clone, fault.step);
            fs::write(&path, text).with_context(|| format!("cannot restore {file}"))?;
            outcome
        }
        Change::Flip => {
            prepare(clone, false)?;
            let path = sign::signed(clone, DRIVE);
            let mut file = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let middle = file.len() / 2;
            *file.get_mut(middle).context("the signed file is empty")? ^= 1;
            fs::write(&path, file).with_context(|| format!("cannot write {}", path.display()))?;
            verify::signatures(clone, &[DRIVE])
        }
    };
    Ok(match outcome {
        Ok(said) => Some(format!("it passed: {said}")),
        Err(error) => {
            let said = format!("{error:#}");
            (!said.contains(fault.says)).then(|| format!("it failed without saying `{}`: {said}", fault.says))
        }
    })
}

/// `text` with the one place where `from` stands replaced.
fn replaced(text: &str, from: &str, to: &str) -> Result<String> {
    match text.matches(from).count() {
        1 => Ok(text.replacen(from, to, 1)),
        count => bail!(
            "`{from}` stands there {count} times, where once is meant: bring the table of faults up to date"
        ),
    }
}

/// Takes a step in the clone, with what it needs from those before it.
fn take(clone: &Workshop, step: Step) -> Result<String> {
    match step {
        Step::Clippy => build::clippy(clone),
        Step::Delegates => surface::check_delegates(clone),
        Step::Build => prepare(clone, true),
        Step::Verify => {
            prepare(clone, false)?;
            verify::signatures(clone, &[DRIVE])
        }
        Step::Scenario(name) => {
            prepare(clone, false)?;
            scenarios::only(clone, name)
        }
    }
}

/// Builds `vz-drive`, and signs it unless only the build is asked for.
fn prepare(clone: &Workshop, only_build: bool) -> Result<String> {
    stubs::write(clone)?;
    let said = build::build(clone, &[DRIVE])?;
    if only_build { Ok(said) } else { sign::sign(clone, &[DRIVE]) }
}

/// Begins the clone's build with a copy of the real one, where there is one: the standard library and all crates of others
/// are built already then.
fn copy_build(work: &Workshop, clone: &Workshop) -> Result<()> {
    if clone.build.exists() || !work.build.exists() {
        return Ok(());
    }
    let part = clone.build.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).context("cannot remove a half-made copy")?;
    }
    run::output(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&work.build).arg(&part))?;
    fs::rename(&part, &clone.build).context("cannot put the copy of the build in its place")
}

/// Makes `to` hold what git knows or would add in `from`. Files that are the same keep their times, by which cargo goes; all
/// others get the present, so that nothing that was built of another version is taken for theirs.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let listing = run::text(
        Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(from),
    )?;
    let mut wanted = BTreeSet::new();
    for name in listing.split('\0').filter(|name| !name.is_empty()) {
        let (source, target) = (from.join(name), to.join(name));
        if !source.is_file() {
            continue;
        }
        wanted.insert(target.clone());
        let cannot = || format!("cannot copy {name}");
        let content = fs::read(&source).with_context(cannot)?;
        if fs::read(&target).is_ok_and(|present| present == content) {
            continue;
        }
        fs::create_dir_all(target.parent().unwrap_or(to)).with_context(cannot)?;
        fs::write(&target, content).with_context(cannot)?;
    }
    remove_others(to, &wanted)
}

/// Removes files that are not wanted: a module that is gone must not be found.
fn remove_others(folder: &Path, wanted: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, wanted)?;
        } else if !wanted.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_has_no_place_or_several_is_refused() {
        assert_eq!(replaced("a b", "b", "c").unwrap(), "a c");
        assert!(replaced("a", "b", "c").is_err());
        assert!(replaced("b b", "b", "c").unwrap_err().to_string().contains("2 times"));
    }
}
