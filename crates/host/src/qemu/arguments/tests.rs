use std::ffi::OsStr;
use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;
use selfsame_machine::code::Code;
use selfsame_machine::problem::Problem as _;
use serde_json::Value;

use super::*;

fn plan() -> Plan {
    Plan {
        name: "web".to_owned(),
        architecture: Architecture::X86_64,
        machine: "pc-q35-7.2".to_owned(),
        accelerator: Accelerator::Tcg,
        sandbox: true,
        cpus: 2,
        memory: 512 << 20,
        uuid: Uuid::from_u128(0x0b7d_08db_66d3_bc40_8000_0000_0000_0001),
        serial: "Virtualization-db087d0b-d366-40bc-8000-000000000001".to_owned(),
        boot: Boot::Bios,
        disks: Vec::new(),
        iso: None,
        folders: Vec::new(),
        ownership: Ownership::Own,
        network: Network::Nat,
        mac_addresses: vec!["52:54:00:12:34:56".to_owned()],
        forwards: Vec::new(),
        display: Display::Vga,
        descriptors: Descriptors { qmp: 5, report: 6, agent: 8, console: 7, log: 9 },
        paused: false,
        incoming: false,
    }
}

fn flash(code: &str) -> Boot {
    Boot::Uefi(Flash { code: code.into(), variables: "NVRAM".into() })
}

fn disk(file: impl Into<PathBuf>) -> Disk {
    Disk { file: file.into(), format: DiskFormat::Raw, read_only: false }
}

/// The vector for people: an option and its value on one line.
fn listing(plan: &Plan) -> String {
    let mut text = String::new();
    for word in plan.arguments().unwrap() {
        let word = word.to_string_lossy();
        text.push_str(if word.starts_with('-') { "\n" } else { " " });
        text.push_str(&word);
    }
    text.trim_start().to_owned()
}

/// The `n`-th argument after the given option.
fn after(arguments: &[OsString], option: &str, n: usize) -> OsString {
    let mut found = arguments.windows(2).filter(|pair| pair[0] == OsStr::new(option)).skip(n);
    found.next().unwrap_or_else(|| panic!("{option} {n}"))[1].clone()
}

fn file_name(arguments: &[OsString], n: usize) -> String {
    let node: Value = serde_json::from_str(after(arguments, "-blockdev", n).to_str().unwrap()).unwrap();
    node["file"]["filename"].as_str().unwrap().to_owned()
}

#[test]
fn the_whole_vector() {
    let kernel = Plan {
        boot: Boot::DirectKernel {
            kernel: "Kernel".into(),
            initrd: Some("InitialRamdisk".into()),
            append: "console=ttyS0 root=/dev/vda quiet".to_owned(),
            firmware: None,
        },
        disks: vec![disk("Disk.img")],
        ..plan()
    };
    let uefi = Plan {
        name: "a,b=c\u{1b}[31m".to_owned(),
        accelerator: Accelerator::Kvm,
        boot: flash("/usr/share/OVMF/OVMF_CODE_4M.fd"),
        disks: vec![
            Disk { file: "disk.qcow2".into(), format: DiskFormat::Qcow2, read_only: false },
            Disk { file: "/srv/nbd:a,b=\"c\" ü.img".into(), format: DiskFormat::Raw, read_only: true },
        ],
        iso: Some("/srv/install.iso".into()),
        network: Network::Isolated,
        forwards: vec!["2222:22".parse().unwrap(), "0.0.0.0:5353:53/udp".parse().unwrap()],
        mac_addresses: vec!["52:54:00:12:34:56".to_owned(), "52:54:00:12:34:57".to_owned()],
        ..plan()
    };
    let folder = |path: &str, read_only| Folder { tag: "src".to_owned(), path: path.to_owned(), read_only };
    let folders = Plan {
        folders: vec![folder("/srv/a,b c=ü", false), folder("/srv/read", true)],
        ownership: Ownership::Recorded,
        ..plan()
    };
    let bare =
        Plan { display: Display::None, sandbox: false, network: Network::None, paused: true, ..plan() };
    let Boot::Uefi(aavmf) = flash("/usr/share/AAVMF/AAVMF_CODE.fd") else { panic!() };
    let arm = |boot: Boot| Plan {
        architecture: Architecture::Aarch64,
        machine: "virt-7.2".to_owned(),
        boot,
        disks: vec![disk("Disk.img")],
        iso: Some("/srv/install.iso".into()),
        ..plan()
    };
    let arm_uefi = Plan { accelerator: Accelerator::Kvm, ..arm(Boot::Uefi(aavmf.clone())) };
    let arm_kernel = arm(Boot::DirectKernel {
        kernel: "Kernel".into(),
        initrd: None,
        append: "console=ttyAMA0".to_owned(),
        firmware: Some(aavmf),
    });
    let listings = [
        ("kernel", kernel),
        ("uefi", uefi),
        ("bare", bare),
        ("folders", folders),
        ("aarch64: uefi", arm_uefi),
        ("aarch64: kernel", arm_kernel),
    ]
    .map(|(title, plan)| format!("# {title}\n\n{}\n", listing(&plan)));
    insta::assert_snapshot!("argument_vectors", listings.join("\n"));
}

#[test]
fn names_that_look_like_something_else_are_made_plain() {
    for (name, expected) in [
        ("Disk.img", "Disk.img"),
        ("../other/Disk.img", "../other/Disk.img"),
        ("nbd:localhost:10809", "./nbd:localhost:10809"),
        ("json:{}", "./json:{}"),
        ("-snapshot", "./-snapshot"),
        ("/srv/nbd:x", "/srv/nbd:x"),
        ("/dev/fdset/1", "/./dev/fdset/1"),
    ] {
        let arguments = Plan { disks: vec![disk(name)], ..plan() }.arguments().unwrap();
        assert_eq!(file_name(&arguments, 0), expected);
    }
}

#[test]
fn names_that_no_json_can_hold_are_refused_with_a_way_out() {
    let odd = OsString::from_vec(b"/srv/vm images/\xff.img".to_vec());
    let error = Plan { disks: vec![disk(&odd)], ..plan() }.arguments().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the name of `/srv/vm images/\u{fffd}.img` is not UTF-8, and QEMU takes no other names for disks and firmware"
    );
    assert_eq!(error.code(), Code::BundleInvalid);
    assert_eq!(error.hints()[0].command.as_deref(), Some("ls -b '/srv/vm images'"));

    let boot = Boot::DirectKernel {
        kernel: odd.clone().into(),
        initrd: None,
        append: String::new(),
        firmware: None,
    };
    assert_eq!(
        after(&Plan { boot, ..plan() }.arguments().unwrap(), "-kernel", 0),
        odd,
        "an argument of its own"
    );

    for name in ["", "a\0b"] {
        let error = Plan { disks: vec![disk(name)], ..plan() }.arguments().unwrap_err();
        assert!(matches!(error, PlanError::NotAName { .. }), "{error:?}");
    }
    let error = Plan { boot: kernel("x\0y"), ..plan() }.arguments().unwrap_err();
    assert_eq!(error.to_string(), "`x\\0y` holds a zero byte");
}

fn kernel(append: &str) -> Boot {
    Boot::DirectKernel { kernel: "Kernel".into(), initrd: None, append: append.to_owned(), firmware: None }
}

proptest! {
    #[test]
    fn any_name_stays_one_string(name in "[^\0]{1,40}", folder in prop::option::of("/[^\0]{0,20}/")) {
        let path = format!("{}{name}", folder.unwrap_or_default());
        let arguments =
            Plan { disks: vec![disk(&path)], iso: Some(path.clone().into()), ..plan() }.arguments().unwrap();
        for told in [file_name(&arguments, 0), file_name(&arguments, 1)] {
            prop_assert!(told == path || told == format!("./{path}") || told == format!("/.{path}"), "{told:?}");
            prop_assert!(told.starts_with('/') || !told.starts_with('-'));
            prop_assert!(told.starts_with('/') || told.starts_with("./") || !told.contains(':'));
        }
    }

    #[test]
    fn any_text_stays_one_value(text in "[^\0]{0,40}") {
        let arguments =
            Plan { name: text.clone(), serial: text.clone(), boot: kernel(&text), ..plan() }.arguments().unwrap();
        prop_assert_eq!(after(&arguments, "-append", 0), OsString::from(&text));
        let name = after(&arguments, "-name", 0).into_string().unwrap();
        // As QEMU reads it: a comma ends the value, two commas are one.
        let read = name.strip_prefix("guest=").unwrap().replace(",,", "\u{1}");
        prop_assert!(!read.contains(','));
        prop_assert_eq!(read.replace('\u{1}', ","), printable(&text));
    }
}

proptest! {
    #[test]
    fn any_folder_stays_one_value(path in "/[^\0]{0,40}", read_only: bool) {
        let folder = Folder { tag: "src".to_owned(), path: path.clone(), read_only };
        let arguments = Plan { folders: vec![folder], ..plan() }.arguments().unwrap();
        let told = after(&arguments, "-fsdev", 0).into_string().unwrap();
        let read = told.replace(",,", "\u{1}");
        let values: Vec<&str> = read.split(',').collect();
        prop_assert_eq!(values[2].strip_prefix("path=").unwrap().replace('\u{1}', ","), path);
        prop_assert_eq!(&values[3..5], &["security_model=none", "multidevs=remap"]);
        prop_assert_eq!(values.get(5), read_only.then_some(&"readonly=on"));
    }
}

#[test]
fn a_guest_that_goes_on_from_a_state_waits_for_it() {
    let arguments = Plan { incoming: true, ..plan() }.arguments().unwrap();
    assert!(arguments.windows(2).any(|pair| pair[0] == "-incoming" && pair[1] == "defer"), "{arguments:?}");
    assert!(!plan().arguments().unwrap().iter().any(|word| word == "-incoming"));
}
