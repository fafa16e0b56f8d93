use super::*;

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use selfsame_machine::code::Code;
use selfsame_machine::problem::Problem;
use serde_json::json;

fn labelled(number: u64, label: &str) -> IdentityRow {
    IdentityRow { label: Some(label.to_owned()), ..identity(number) }
}

/// A folder whose name is no UTF-8 and no friend of SQL's.
fn odd_folder() -> PathBuf {
    Path::new("/vms").join(OsStr::from_bytes(b"a\xff\n'%_\"b.vm"))
}

fn vm(folder: &Path, digest: Option<&str>) -> VmFacts {
    VmFacts {
        folder: folder.to_owned(),
        parent: folder.parent().unwrap().to_owned(),
        name: folder.file_stem().unwrap().to_string_lossy().into_owned(),
        device: u64::MAX,
        inode: u64::MAX - 1,
        fingerprint: Fingerprint::of(&[None, None]),
        digest: digest.map(ToOwned::to_owned),
        identity: Some("uuid:db087d0b-d366-40bc-809b-969690dcbe1e".to_owned()),
        cpus: Some(4),
        memory: Some(u64::MAX),
        disks: vec!["Disk.img".to_owned(), "a,b=\"c\".img".to_owned()],
        mac: Some("52:54:00:00:00:01".to_owned()),
        error: None,
        last_seen: Time(5),
    }
}

fn good(at: i64) -> GoodStart {
    GoodStart { identifier: "ab".repeat(32), model: None, at: Time(at) }
}

#[test]
fn an_identity_comes_back_as_it_went_in() {
    let place = Place::new();
    let row = IdentityRow {
        notes: "für Ürsula".to_owned(),
        origin_detail: Some("/a/b".to_owned()),
        ..labelled(3, "it's")
    };
    place.store().identities().insert(&row).unwrap();
    let store = place.store();
    let identities = store.identities();
    assert_eq!(identities.get(&row.digest).unwrap().as_ref(), Some(&row));
    assert_eq!(identities.by_label("it's").unwrap().as_ref(), Some(&row));
    assert_eq!(identities.by_label("IT'S").unwrap(), None);
    for id in [row.digest[..6].to_owned(), row.digest[..9].to_uppercase(), row.digest.clone()] {
        assert_eq!(identities.by_id(&id, 5).unwrap().as_slice(), std::slice::from_ref(&row), "{id}");
    }
    for id in [&row.digest[..5], "", "zzzzzz", &format!("{}0", row.digest), "%%%%%%"] {
        assert_eq!(identities.by_id(id, 5).unwrap(), [], "{id}");
    }
    assert_eq!(identities.list(Some("generic")).unwrap(), [row]);
    assert_eq!(identities.list(Some("mac")).unwrap(), []);
}

#[test]
fn a_digest_and_a_label_stand_once() {
    let place = Place::new();
    let store = place.store();
    let identities = store.identities();
    identities.insert(&labelled(1, "one")).unwrap();
    let error = identities.insert(&labelled(1, "other")).unwrap_err();
    assert_eq!(error.to_string(), "the library has ecid:0x0000000000000001 already, labelled `one`");
    assert_eq!(error.code(), Code::IdentityExists);
    let error = identities.insert(&labelled(2, "one")).unwrap_err();
    assert_eq!(error.to_string(), "the label `one` belongs to ecid:0x0000000000000001");
    assert_eq!(error.hints()[1].command.as_deref(), Some("selfsame identity show ecid:0x0000000000000001"));

    identities.insert(&identity(2)).unwrap();
    identities.insert(&identity(3)).unwrap();
    let two = identity(2).digest;
    assert!(matches!(identities.set_label(&two, Some("one")), Err(IdentityError::LabelTaken { .. })));
    identities.set_label(&two, Some("two")).unwrap();
    identities.set_label(&two, Some("two")).unwrap();
    identities.set_label(&identity(1).digest, None).unwrap();
    identities.set_label(&two, Some("one")).unwrap();
    identities.set_notes(&two, "n").unwrap();
    let row = identities.get(&two).unwrap().unwrap();
    assert_eq!((row.label.as_deref(), row.notes.as_str()), (Some("one"), "n"));
    for missing in [identities.set_label("00", None), identities.set_notes("00", ""), identities.delete("00")]
    {
        assert_eq!(missing.unwrap_err().code(), Code::IdentityNotFound);
    }
}

#[test]
fn meeting_an_identity_again_changes_nothing_but_an_earlier_time() {
    let place = Place::new();
    let store = place.store();
    let identities = store.identities();
    assert!(identities.upsert_seen(&labelled(5, "five")).unwrap());
    let again = IdentityRow { first_seen: Time(9), origin: "bundle".to_owned(), ..identity(5) };
    let writes = store.connection.total_changes();
    assert!(!identities.upsert_seen(&again).unwrap());
    assert_eq!(store.connection.total_changes(), writes);
    assert!(!identities.upsert_seen(&IdentityRow { first_seen: Time(1), ..again }).unwrap());
    let expected = IdentityRow { first_seen: Time(1), ..labelled(5, "five") };
    assert_eq!(identities.get(&expected.digest).unwrap(), Some(expected));
    assert!(matches!(identities.upsert_seen(&labelled(6, "five")), Err(IdentityError::LabelTaken { .. })));
}

#[test]
fn finding_takes_every_character_as_itself() {
    let place = Place::new();
    let store = place.store();
    for (number, label, notes) in [(1, "100%", ""), (2, "a_b", "Lab 7"), (3, "c\\d", "")] {
        let row = IdentityRow { notes: notes.to_owned(), ..labelled(number, label) };
        store.identities().insert(&row).unwrap();
    }
    let found = |text| store.identities().find(text, 9).unwrap().len();
    assert_eq!(
        (found("%"), found("_"), found("\\"), found("lAB"), found("x00000"), found("")),
        (1, 1, 1, 1, 3, 3)
    );
    assert_eq!(store.identities().find("ecid", 2).unwrap().len(), 2);
}

#[test]
fn ten_thousand_identities_are_looked_up_by_key() {
    let place = Place::new();
    let store = place.store();
    store.atomically(|store| (0..10_000).try_for_each(|n| store.identities().insert(&identity(n)))).unwrap();
    for number in (0..10_000).step_by(97) {
        let row = identity(number);
        assert_eq!(store.identities().by_id(&row.digest[..12], 2).unwrap(), [row]);
    }
    let mut seen = 0;
    store
        .identities()
        .each(None, |_| {
            seen += 1;
            if seen == 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(seen, 10);
    // A scan would pass the look-ups above, only slowly: ask SQLite for its plan.
    for (sql, index) in [
        ("SELECT * FROM identities WHERE digest >= '0' AND digest < '1'", "PRIMARY KEY"),
        ("SELECT * FROM identities WHERE label = 'x'", "sqlite_autoindex_identities_2"),
        ("SELECT * FROM vms WHERE digest = 'x'", "vms_by_digest"),
        ("SELECT * FROM vms WHERE mac = 'x'", "vms_by_mac"),
        ("SELECT * FROM vms WHERE parent = 'x' ORDER BY parent, name, folder", "vms_by_parent"),
        ("SELECT * FROM runs WHERE ended IS NULL ORDER BY id", "runs_open"),
        ("SELECT * FROM runs WHERE folder = 'x' ORDER BY id DESC LIMIT 1", "runs_by_folder"),
        ("SELECT * FROM observations WHERE digest = 'x' ORDER BY id DESC", "observations_by_digest"),
        ("SELECT * FROM events WHERE name = 'x' AND id > 7 ORDER BY id", "events_by_name"),
        ("SELECT * FROM events WHERE folder = 'x' ORDER BY id DESC", "events_by_folder"),
    ] {
        let plan: Vec<String> = store
            .connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap()
            .query_map([], |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(plan[0].contains(index) && !plan.join(" ").contains("TEMP B-TREE"), "{sql}: {plan:?}");
    }
}

#[test]
fn vms_come_back_by_every_key_whatever_their_names() {
    let place = Place::new();
    let store = place.store();
    let vms = store.vms();
    let (odd, plain) = (vm(&odd_folder(), Some("d1")), vm(Path::new("/vms/z.vm"), Some("d1")));
    let broken = VmFacts { error: Some("cut short".to_owned()), ..vm(Path::new("/else/b.vm"), None) };
    vms.upsert([&odd, &plain, &broken]).unwrap();
    vms.upsert([]).unwrap();
    let row = |facts: &VmFacts| VmRow { facts: facts.clone(), good: None };
    assert_eq!(vms.get(&odd_folder()).unwrap(), Some(row(&odd)));
    assert_eq!(vms.get(Path::new("/vms/a")).unwrap(), None);
    assert_eq!(vms.by_digest("d1").unwrap(), [row(&odd), row(&plain)]);
    assert_eq!(vms.in_parent(Path::new("/vms")).unwrap(), [row(&odd), row(&plain)]);
    assert_eq!(vms.by_mac("52:54:00:00:00:01").unwrap().len(), 3);
    assert_eq!(vms.in_parent(Path::new("/else")).unwrap(), [row(&broken)]);
    assert!(vms.forget(&odd_folder()).unwrap());
    assert!(!vms.forget(&odd_folder()).unwrap());
}

#[test]
fn a_folder_gives_its_own_vms_in_the_order_of_bytes() {
    let place = Place::new();
    let store = place.store();
    let of = |folder: &str| vm(Path::new(folder), None);
    // Beside, below and before `/vms/`; and `a.vm` after `a-b.vm`, although `a` is before `a-b`.
    let folders = ["/vms/a.vm", "/vms/a-b.vm", "/vms/a/b.vm", "/vms-2/c.vm", "/vms0/d.vm", "/e.vm"].map(of);
    store.vms().upsert(&folders).unwrap();
    let within = |parent: &str| -> Vec<PathBuf> {
        let rows = store.vms().in_parent(Path::new(parent)).unwrap();
        rows.into_iter().map(|row| row.facts.folder).collect()
    };
    assert_eq!(within("/vms"), [Path::new("/vms/a-b.vm"), Path::new("/vms/a.vm")]);
    assert_eq!(within("/vms/a"), [Path::new("/vms/a/b.vm")]);
    assert_eq!(within("/"), [Path::new("/e.vm")]);
}

#[test]
fn the_last_good_start_outlives_every_reading() {
    let place = Place::new();
    let store = place.store();
    let folder = odd_folder();
    store.vms().record_good_start(&folder, &good(1)).unwrap();
    let row = store.vms().get(&folder).unwrap().unwrap();
    assert_eq!((row.good, row.facts.parent.as_path()), (Some(good(1)), Path::new("/vms")));
    assert_ne!(row.facts.fingerprint, Fingerprint::of(&[None, None]));
    store.vms().upsert([&vm(&folder, Some("d"))]).unwrap();
    assert_eq!(store.vms().get(&folder).unwrap().unwrap().good, Some(good(1)));
    store.vms().record_good_start(&folder, &good(2)).unwrap();
    let row = store.vms().get(&folder).unwrap().unwrap();
    assert_eq!(row, VmRow { facts: vm(&folder, Some("d")), good: Some(good(2)) });
}

fn run_in(folder: &Path, at: i64) -> NewRun {
    NewRun {
        folder: folder.to_owned(),
        name: "web1".to_owned(),
        digest: Some("d".to_owned()),
        supervisor_pid: 41,
        boot_id: "b".to_owned(),
        started: Time(at),
    }
}

#[test]
fn a_run_is_begun_ready_adopted_and_ended_once() {
    let place = Place::new();
    let store = place.store();
    let runs = store.runs();
    let first = runs.begin(&run_in(&odd_folder(), 1)).unwrap();
    let second = runs.begin(&run_in(Path::new("/vms/z.vm"), 2)).unwrap();
    assert!(runs.ready(first, 42, Time(3)).unwrap());
    assert!(runs.adopted(first, 43).unwrap());
    let open = runs.open_runs().unwrap();
    assert_eq!(open.iter().map(|run| run.id).collect::<Vec<_>>(), [first, second]);
    assert_eq!(
        (open[0].begun.supervisor_pid, open[0].qemu_pid, open[0].ready),
        (43, Some(42), Some(Time(3)))
    );
    assert!(runs.end(first, Time(9), "crash", Some("signal 11")).unwrap());
    assert!(!runs.end(first, Time(10), "request", None).unwrap());
    assert!(!runs.ready(first, 1, Time(11)).unwrap());
    assert!(!runs.end(RunId(99), Time(10), "request", None).unwrap());
    let last = runs.last(&odd_folder()).unwrap().unwrap();
    assert_eq!((last.ended, last.end_reason.as_deref()), (Some(Time(9)), Some("crash")));
    assert_eq!(last.end_detail.as_deref(), Some("signal 11"));
    assert_eq!(runs.open_runs().unwrap().len(), 1);
    assert_eq!(runs.last(Path::new("/none")).unwrap(), None);
}

fn observed(folder: &Path, run: Option<RunId>, at: i64, serial: &str) -> NewObservation {
    NewObservation {
        digest: "d".to_owned(),
        run,
        folder: folder.to_owned(),
        at: Time(at),
        source: "guest-report".to_owned(),
        facts: json!({ "serial": serial, "macs": ["a"] }),
        contradictions: json!([]),
    }
}

#[test]
fn the_same_shown_again_is_one_observation() {
    let place = Place::new();
    let store = place.store();
    let (a, b) = (odd_folder(), PathBuf::from("/vms/b.vm"));
    let run = store.runs().begin(&run_in(&a, 1)).unwrap();
    let record = |new: &NewObservation| store.observations().record(new).unwrap();
    assert_eq!(record(&observed(&a, Some(run), 1, "x")), Recorded::New(1));
    assert_eq!(record(&observed(&a, None, 2, "x")), Recorded::Same(1));
    assert_eq!(record(&observed(&b, None, 3, "x")), Recorded::New(2));
    assert_eq!(record(&observed(&a, None, 4, "y")), Recorded::New(3));
    assert_eq!(record(&observed(&a, None, 5, "x")), Recorded::New(4));
    let contradicts = NewObservation { contradictions: json!(["serial"]), ..observed(&a, None, 6, "x") };
    assert_eq!(record(&contradicts), Recorded::New(5));
    let all = store.observations().of("d", 9).unwrap();
    assert_eq!(all.iter().map(|row| row.id).collect::<Vec<_>>(), [5, 4, 3, 2, 1]);
    assert_eq!(all[4].first, observed(&a, Some(run), 1, "x"));
    assert_eq!(all[4].last_seen, Time(2));
    assert_eq!(store.observations().of("d", 2).unwrap().len(), 2);
}

#[test]
fn events_keep_their_order_and_are_filtered() {
    let place = Place::new();
    let store = place.store();
    for number in 0..10 {
        let odd = number % 2 == 1;
        let new = NewEvent {
            at: Time(100 - number),
            folder: odd.then(odd_folder),
            name: Some(if odd { "odd" } else { "even" }.to_owned()),
            digest: Some("d".to_owned()),
            data: json!({ "number": number }),
            ..event("vm.started")
        };
        let id = store.events().append(&new).unwrap();
        let filter = EventFilter { limit: 1, ..everything() };
        assert_eq!(store.events().list(&filter).unwrap(), [Event { id, what: new }]);
    }
    let ids = |filter: &EventFilter| -> Vec<i64> {
        store.events().list(filter).unwrap().iter().map(|event| event.id.0).collect()
    };
    assert_eq!(ids(&everything()), (1..=10).collect::<Vec<_>>());
    assert_eq!(ids(&EventFilter { limit: 3, ..everything() }), [8, 9, 10]);
    assert_eq!(ids(&EventFilter { since: Some(EventId(4)), limit: 3, ..everything() }), [5, 6, 7]);
    assert_eq!(ids(&EventFilter { since: Some(EventId(10)), ..everything() }), [0; 0]);
    assert_eq!(ids(&EventFilter { folder: Some(odd_folder()), limit: 2, ..everything() }), [8, 10]);
    let even = EventFilter { name: Some("even".to_owned()), since: Some(EventId(5)), ..everything() };
    assert_eq!(ids(&even), [7, 9]);
    assert_eq!(ids(&EventFilter { folder: Some(odd_folder()), ..even }), [0; 0]);
}

#[test]
fn a_rename_takes_runs_along_and_history_is_never_deleted() {
    let place = Place::new();
    let store = place.store();
    let (old, new) = (odd_folder(), PathBuf::from("/vms/new.vm"));
    store.vms().upsert([&vm(&old, Some("d")), &vm(&new, Some("gone"))]).unwrap();
    store.vms().record_good_start(&old, &good(1)).unwrap();
    store.vms().record_good_start(&new, &good(9)).unwrap();
    let run = store.runs().begin(&run_in(&old, 1)).unwrap();
    store.observations().record(&observed(&old, Some(run), 1, "x")).unwrap();
    store.events().append(&NewEvent { folder: Some(old.clone()), ..event("vm.started") }).unwrap();
    store.vms().rename(&old, &old).unwrap();
    store.vms().rename(&old, &new).unwrap();
    assert_eq!(store.vms().get(&old).unwrap(), None);
    let row = store.vms().get(&new).unwrap().unwrap();
    assert_eq!(
        (row.good, row.facts.digest.as_deref(), row.facts.name.as_str()),
        (Some(good(1)), Some("d"), "new")
    );
    assert_eq!(store.runs().last(&new).unwrap().unwrap().id, run);
    assert_eq!(store.observations().record(&observed(&new, None, 2, "x")).unwrap(), Recorded::Same(1));
    // A VM without a row may have runs.
    store.vms().rename(Path::new("/a"), Path::new("/b")).unwrap();

    store.identities().insert(&IdentityRow { digest: "d".to_owned(), ..identity(1) }).unwrap();
    store.identities().delete("d").unwrap();
    store.vms().forget(&new).unwrap();
    assert_eq!(store.runs().last(&new).unwrap().unwrap().id, run);
    assert_eq!(store.observations().of("d", 9).unwrap().len(), 1);
    assert_eq!(store.events().list(&everything()).unwrap()[0].what.folder, Some(old));
}

#[test]
fn several_writes_are_kept_or_lost_together() {
    let place = Place::new();
    let store = place.store();
    store.identities().insert(&labelled(1, "one")).unwrap();
    let failed: Result<(), IdentityError> = store.atomically(|store| {
        store.events().append(&event("identity.kept"))?;
        store.identities().insert(&labelled(2, "one"))
    });
    assert!(matches!(failed, Err(IdentityError::LabelTaken { .. })));
    assert_eq!(store.events().list(&everything()).unwrap(), []);
    // A step that failed and was dealt with takes nothing else with it.
    let done: Result<EventId, StoreError> = store.atomically(|store| {
        assert!(store.identities().insert(&labelled(2, "one")).is_err());
        store.events().append(&event("label.refused"))
    });
    done.unwrap();
    drop(store);
    assert_eq!(place.store().events().list(&everything()).unwrap().len(), 1);
}
