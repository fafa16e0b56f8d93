//! Many commands at the same moment.

use crate::support::{Output, TestEnv, together};

#[test]
fn hazard_a_hundred_runs_of_one_vm_race() {
    let env = TestEnv::new();
    env.create("web1");
    let watch = env.watch();
    let outputs = together(100, |_| env.start("web1"));
    let won = outputs.iter().filter(|output| output.code() == 0).count();
    assert_eq!(won, 1, "{outputs:#?}");
    for output in outputs.iter().filter(|output| output.code() != 0) {
        drop(output.refused(4, "vm.running"));
    }
    assert_eq!(env.qemus().len(), 1);
    watch.never_two();
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
    env.started("web1");
}

#[test]
fn hazard_a_vm_and_its_copy_are_started_at_once() {
    let env = TestEnv::new();
    env.create("web1");
    env.copy("web1", "web2");
    let watch = env.watch();
    for round in 0..20 {
        let outputs = together(2, |index| env.start(["web1", "web2"][index]));
        let codes: Vec<i32> = outputs.iter().map(Output::code).collect();
        assert!(codes == [0, 5] || codes == [5, 0], "round {round}: {outputs:#?}");
        let (winner, loser) = if codes == [0, 5] { ("web1", 1) } else { ("web2", 0) };
        drop(outputs[loser].refused(5, "identity.in_use"));
        assert_eq!(env.qemus().len(), 1);
        drop(env.run(["kill", winner]).ok());
    }
    watch.never_two();
    env.nothing_is_left();
}

#[test]
fn hazard_one_name_is_created_twice_at_once() {
    let env = TestEnv::new();
    let create = || env.json(["create", "web1", "--firmware", "bios", "--no-disk"]);
    for _ in 0..5 {
        let outputs = together(4, |_| create());
        let mut codes: Vec<i32> = outputs.iter().map(Output::code).collect();
        codes.sort_unstable();
        assert_eq!(codes, [0, 4, 4, 4], "{outputs:#?}");
        for output in outputs.iter().filter(|output| output.code() == 4) {
            drop(output.refused(4, "vm.exists"));
        }
        let made = outputs.iter().find(|output| output.code() == 0).unwrap().json();
        assert_eq!(env.get("web1")["identity"], made["identity"], "what is there is what was told");
        let vms = std::fs::read_dir(env.home.join("vms")).unwrap().count();
        assert_eq!(vms, 1, "no half-made folder is left");
        drop(env.run(["delete", "--yes", "web1"]).ok());
    }
}

#[test]
fn hazard_a_running_vm_is_deleted() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    env.started("web1");
    drop(env.json(["delete", "--yes", "web1"]).refused(9, "request.denied"));
    assert!(folder.join("MachineIdentifier").exists());
    assert_eq!(env.state("web1"), "paused");
    drop(env.run(["kill", "web1"]).ok());
    drop(env.run(["delete", "--yes", "web1"]).ok());
    assert!(!folder.exists());
}

#[test]
fn hazard_a_vm_is_deleted_while_it_starts() {
    let env = TestEnv::new();
    for round in 0..20 {
        let folder = env.create("web1");
        let outputs = together(2, |index| {
            if index == 0 {
                return env.start("web1");
            }
            // From well before the first lock to well after it.
            std::thread::sleep(std::time::Duration::from_millis(3 * round));
            env.json(["delete", "--yes", "web1"])
        });
        let [run, delete] = outputs.as_slice() else { panic!("two outputs") };
        match (run.code(), delete.code()) {
            (0, 9) => {
                assert!(folder.join("MachineIdentifier").exists(), "a running VM lost its folder");
                assert_eq!(env.qemus().len(), 1);
                drop(env.run(["kill", "web1"]).ok());
                drop(env.run(["delete", "--yes", "web1"]).ok());
            }
            (3 | 4, 0) => assert!(!folder.exists()),
            _ => panic!("round {round}: {run}\n{delete}"),
        }
        env.nothing_is_left();
    }
}

#[test]
fn hazard_everybody_stops_one_vm_at_once() {
    let env = TestEnv::new();
    env.create("web1");
    for verb in ["kill", "stop"] {
        env.started("web1");
        let ask = || {
            let timeout: &[&str] = if verb == "stop" { &["-t", "0"] } else { &[] };
            env.json([verb].iter().chain(timeout).chain(&["web1"]))
        };
        let outputs = together(8, |_| ask());
        for output in outputs {
            assert_eq!(output.code(), 0, "{output}");
        }
        env.nothing_is_left();
    }
}
