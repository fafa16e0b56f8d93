//! Measures the gate from inside, where no start of a process hides it; `cargo xtask bench` runs it.
//!
//! ```text
//! gate fill IDENTITIES VMS    make a library and VMs in $SELFSAME_HOME
//! gate pass NAME COUNT        pass the gate so often, let go each time; one line each, nanoseconds
//! ```

#![expect(clippy::print_stdout, reason = "the numbers are what it is for")]

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::time::Instant;

use selfsame_host::bundle::{Bundle, IDENTIFIER, RAW_DISK, SPEC};
use selfsame_host::context::Context;
use selfsame_host::gate::{self, Overrides, Terms};
use selfsame_host::library::{find, fresh_identity, fresh_mac};
use selfsame_host::lock::FolderLock;
use selfsame_host::store::{IdentityError, IdentityRow};
use selfsame_host::time::Time;
use selfsame_machine::identity::{Identity, Kind};
use selfsame_machine::problem::Report;
use selfsame_machine::spec::{Boot, Disk, DiskFormat, Guest, Spec};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["fill", identities, vms] => fill(identities.parse()?, vms.parse()?),
        ["pass", name, count] => pass(name, count.parse()?),
        _ => Err("usage: gate fill IDENTITIES VMS | gate pass NAME COUNT".into()),
    }
}

fn told(report: impl Into<Report>) -> String {
    report.into().message
}

/// Fills a home. Straight into its files: a thousand `create`s would sync each of them.
fn fill(identities: usize, vms: usize) -> Result<(), Box<dyn Error>> {
    let context = Context::from_environment().and_then(Context::prepared).map_err(told)?;
    let store = context.store().map_err(told)?;
    let made = (0..identities.max(vms))
        .map(|_| fresh_identity(Kind::Generic).map(|(identity, _)| identity))
        .collect::<Result<Vec<Identity>, _>>()?;
    store.atomically(|store| {
        made.iter().try_for_each(|identity| store.identities().insert(&row(identity)))?;
        Ok::<(), IdentityError>(())
    })?;
    for (number, identity) in made.iter().take(vms).enumerate() {
        let folder = context.home.vms().join(format!("vm{number}.vm"));
        fs::create_dir(&folder)?;
        let spec = Spec {
            guest: Some(Guest::Linux),
            mac_address: Some(fresh_mac()?),
            boot: Boot::Bios,
            disks: Some(vec![Disk {
                file: RAW_DISK.to_owned(),
                format: DiskFormat::Raw,
                read_only: false,
                size: None,
            }]),
            ..Spec::default()
        };
        fs::write(folder.join(RAW_DISK), [0; 512])?;
        fs::write(folder.join(SPEC), spec.write())?;
        fs::write(folder.join(IDENTIFIER), identity.to_bytes())?;
    }
    Ok(())
}

fn row(identity: &Identity) -> IdentityRow {
    IdentityRow {
        digest: identity.digest().to_string(),
        kind: identity.kind().text().to_owned(),
        canonical: identity.canonical(),
        raw: identity.to_bytes(),
        label: None,
        notes: String::new(),
        origin: "fresh".to_owned(),
        origin_detail: None,
        first_seen: Time::now(),
    }
}

/// Passes the gate as a supervisor does, whose library is open and whose bundle was just read.
fn pass(name: &str, count: usize) -> Result<(), Box<dyn Error>> {
    let context = Context::from_environment().and_then(Context::prepared).map_err(told)?;
    let place = context.locks()?;
    let store = context.store().map_err(told)?;
    let folder = find(&context, OsStr::new(name))?;
    for _ in 0..count {
        let bundle = Bundle::read(&folder)?;
        let began = Instant::now();
        let lock = FolderLock::open(&folder)?;
        if !lock.try_lock()? {
            return Err("the VM's folder is locked".into());
        }
        let overrides = Overrides::default();
        let passage = gate::pass(
            &context,
            &place,
            &store,
            &bundle,
            lock,
            Terms { overrides: &overrides, ticket: None },
            Time::now(),
        );
        let took = began.elapsed();
        drop(passage.map_err(told)?);
        println!("{}", took.as_nanos());
    }
    Ok(())
}
