//! The contract of every command: where data goes, how errors look, what the process ends with.

use crate::support::TestEnv;

#[test]
fn help_is_grouped_by_what_the_commands_are_for() {
    let env = TestEnv::new();
    let help = env.run(["--help"]).ok();
    assert_eq!(help.stderr, "");
    insta::assert_snapshot!(help.render(), @"
    exit: 0
    --- stdout
    Virtual machines that know who they are: two with one identity never run at the same time

    Usage: selfsame [OPTIONS] [COMMAND]

    Everyday:
      create      Make a VM
      run         Start a VM, or take over one whose supervisor is gone
      start       The same as `run -d`
      stop        Ask guests to power down, and cut their power when they do not
      restart     Stop a VM and start it again
      kill        End VMs at once
      pause       Let guests stand still, their memory kept
      resume      Let paused guests go on
      suspend     Put guests to sleep on the disk, to go on at their next start
      list        Show the VMs (also `ls`, `ps`)
      get         Show one VM with all that is known of it (also `inspect`)
      set         Change what a VM is made of
      rename      Give a VM another name
      protect     Keep VMs from being deleted
      delete      Delete VMs with their disks (also `rm`)
      why         Explain what stands in the way of a start
      events      Show what happened

    Into a guest:
      console     Talk to a guest over its serial console
      ssh         Log in to a guest, or run a command in it
      exec        Run a command in a guest
      cp          Copy files into a guest or out of it
      ip          Show where a guest is reached from here
      ssh-config  Print a configuration with which ssh and its friends reach a guest
      logs        Show what a guest wrote to its console, or what ran it had to say
      screenshot  Make a picture of a guest's screen

    Identity (also `mid`):
      identity    Make, keep, show, import and export machine identifiers

    Images:
      image       List, fetch and delete the images that VMs are made of

    This host:
      autostart   Start the VMs that are marked for it
      setup       Show and change what selfsame has put on this computer
      doctor      Check this host and its VMs
      quota       Show how many guests may run at the same time
      config      Show the settings and where each comes from
      completion  Print completions for a shell
      version     Show the version and what works on this host

    `selfsame COMMAND --help` tells more of each.

    Options:
          --format <FORMAT>
              Write for people or for programs

              Possible values:
              - text: Tables and sentences
              - json: One JSON document

              [default: text]

      -q, --quiet
              Print names only

          --yes
              Do not ask before destroying something

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version
    ");
}

#[test]
fn no_arguments_are_three_lines() {
    let env = TestEnv::new();
    let nothing: [&str; 0] = [];
    insta::assert_snapshot!(env.run(nothing).ok().render(), @"
    exit: 0
    --- stdout
    0 of 0 VMs run: nothing
    slots: Linux guests need none; this host starts as many as it has memory for
    next: selfsame create NAME --disk IMAGE (all commands: selfsame --help)
    ");
    env.create("web1");
    insta::assert_snapshot!(env.run(nothing).ok().render(), @"
    exit: 0
    --- stdout
    0 of 1 VMs run: nothing
    slots: Linux guests need none; this host starts as many as it has memory for
    next: selfsame list; selfsame run -d NAME (all commands: selfsame --help)
    ");
    env.started("web1");
    insta::assert_snapshot!(env.run(nothing).ok().render(), @"
    exit: 0
    --- stdout
    1 of 1 VMs run: web1
    slots: Linux guests need none; this host starts as many as it has memory for
    next: selfsame get web1; selfsame stop web1 (all commands: selfsame --help)
    ");
}

#[test]
fn errors_name_the_cause_and_what_to_do() {
    let env = TestEnv::new();
    env.create("web1");
    env.copy("web1", "web2");
    insta::assert_snapshot!(env.run(["get", "wbe1"]).render(), @"
    exit: 3
    --- stderr
    error: there is no VM named `wbe1` in `[ROOT]/home/vms`

    hint: did you mean: `selfsame get web1`
    hint: see which VMs there are: `selfsame list`
    ");
    insta::assert_snapshot!(env.run(["create", "web1"]).render(), @"
    exit: 4
    --- stderr
    error: there is a VM named `web1` already

    hint: see it: `selfsame get web1`
    ");
    insta::assert_snapshot!(env.run(["pause", "web1"]).render(), @"
    exit: 9
    --- stderr
    error: web1 is not running

    hint: start it: `selfsame run -d web1`
    ");
    insta::assert_snapshot!(env.run(["delete", "web1"]).render(), @"
    exit: 2
    --- stderr
    error: deleting web1 destroys its disks, and nobody is there to be asked

    hint: say `--yes` to delete without being asked
    ");
    insta::assert_snapshot!(env.run(["create", "a/b"]).render(), @r#"
    exit: 2
    --- stderr
    error: "a/b" cannot be a VM's name: `/` separates folders (byte 1)

    hint: use `--at PATH` for a VM in another folder
    "#);
    env.started("web1");
    insta::assert_snapshot!(env.run(["run", "-d", "web1"]).render(), @"
    exit: 4
    --- stderr
    error: web1 is running already (supervisor [PID])

    hint: see what it is doing: `selfsame get web1`
    ");
    insta::assert_snapshot!(env.run(["run", "-d", "web2"]).render(), @"
    exit: 5
    --- stderr
    error: web2 is a twin of web1, and web1 is running

    hint: stop the one that runs: `selfsame stop web1`
    hint: see what stands in the way: `selfsame why web2`
    ");
    insta::assert_snapshot!(env.json(["run", "-d", "web2"]).render(), @r#"
    exit: 5
    --- stderr
    {"code":"identity.in_use","title":"A VM with this identity is running","detail":"web2 is a twin of web1, and web1 is running","causes":[],"hints":[{"text":"stop the one that runs","command":"selfsame stop web1"},{"text":"see what stands in the way","command":"selfsame why web2"}],"exit_status":5}
    "#);
    let why = env.run(["why", "web2"]).render().replace(env.files.qemu.to_str().unwrap(), "[QEMU]");
    insta::assert_snapshot!(why, @"
    exit: 10
    --- stdout
    STEP  ABOUT        FINDING     WHAT WAS FOUND
    0     supervisor   ok          no supervisor: it is not running
    1     bundle       ok          nobody holds the folder
    2     identity     IN THE WAY  uuid:[UUID] is held by the VM in `[ROOT]/home/vms/web1.vm` (supervisor [PID])
    3     MAC address  IN THE WAY  [MAC] is held by the VM in `[ROOT]/home/vms/web1.vm` (supervisor [PID])
    4     twins        IN THE WAY  `[ROOT]/home/vms/web1.vm` runs under selfsame
    7     back end     ok          QEMU [VERSION] at `[QEMU]`, tcg (it is configured)
    --- stderr
    hint: end what stands in the way, and run it again
    ");
}

#[test]
fn exit_statuses_are_those_of_the_table() {
    let env = TestEnv::new();
    env.create("web1");
    env.copy("web1", "web2");
    let rows: [(i32, &[&str]); 14] = [
        (0, &["list"]),
        (0, &["stop", "web1"]),
        (0, &["kill", "web1"]),
        (1, &["create", "a", "--disk", "/no/such/file"]),
        (2, &["no-such-command"]),
        (2, &["run"]),
        (2, &["create", "-x"]),
        (2, &["create", ".a"]),
        (2, &["create", "a", "--memory", "much"]),
        (3, &["get", "nobody"]),
        (3, &["identity", "show", "nobody"]),
        (4, &["create", "web1"]),
        (9, &["resume", "web1"]),
        (9, &["create", "mac", "--macos"]),
    ];
    for (status, arguments) in rows {
        let output = env.run(arguments);
        assert_eq!(output.code(), status, "{output}");
        assert!(status == 0 || output.stdout.is_empty(), "an error is no data: {output}");
    }
    env.started("web1");
    assert_eq!(env.run(["run", "-d", "web1"]).code(), 4);
    assert_eq!(env.run(["run", "-d", "web2"]).code(), 5);
    assert_eq!(env.run(["why", "web2"]).code(), 10);
    assert_eq!(env.run(["pause", "web1"]).code(), 0, "already so is a note");
    assert_eq!(env.run(["delete", "--yes", "web1"]).code(), 9);
}

#[test]
fn with_json_every_error_is_one_object_on_standard_error() {
    let env = TestEnv::new();
    let calls: [&[&str]; 6] = [
        &["get", "nobody"],
        &["create", "a/b"],
        &["create", "a", "--disk", "/no/such/file"],
        &["identity", "show", "udid:nonsense"],
        &["run", "-d", "nobody"],
        &["resume", "nobody"],
    ];
    for arguments in calls {
        let output = env.json(arguments);
        assert_eq!(output.stdout, "", "{output}");
        assert_eq!(output.stderr.lines().count(), 1, "{output}");
        let error = output.error();
        for key in ["code", "title", "detail"] {
            assert!(error[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {output}");
        }
        for key in ["causes", "hints"] {
            assert!(error[key].is_array(), "{key}: {output}");
        }
        assert_eq!(error["exit_status"], output.code(), "{output}");
    }
}

#[test]
fn quiet_prints_names_only() {
    let env = TestEnv::new();
    let create = ["-q", "create", "web1", "--firmware", "bios", "--no-disk", "--memory", "64MiB"];
    assert_eq!(env.run(create).ok().stdout, "web1\n");
    assert_eq!(env.run(["-q", "list"]).ok().stdout, "web1\n");
    assert_eq!(env.run(["-q", "get", "web1"]).ok().stdout, "web1\n");
    assert_eq!(env.run(["-q", "run", "-d", "--paused", "web1"]).ok().stdout, "web1\n");
    assert_eq!(env.run(["-q", "list", "--running"]).ok().stdout, "web1\n");
    assert_eq!(env.run(["-q", "stop", "-t", "0", "web1"]).ok().stdout, "web1\n");
    let shown = env.run(["-q", "identity", "show", "web1"]).ok().stdout;
    assert!(shown.starts_with("uuid:") && shown.lines().count() == 1, "{shown}");
    assert_eq!(env.run(["-q", "delete", "--yes", "web1"]).ok().stdout, "web1\n");
    assert_eq!(env.run(["-q", "list"]).ok().stdout, "");
}

/// A hint is a command that can be typed: it is parsed here by the program itself, with `--help` behind it.
#[test]
fn every_hint_can_be_typed() {
    let env = TestEnv::new();
    env.create("it's web");
    env.copy("it's web", "web2");
    let pids = env.started("it's web");
    let mut seen = 0;
    let calls: [&[&str]; 12] = [
        &["get", "it's wob"],
        &["get", "nobody"],
        &["create", "it's web"],
        &["run", "-d", "it's web"],
        &["run", "-d", "web2"],
        &["pause", "web2"],
        &["delete", "--yes", "it's web"],
        &["identity", "show", "nobody"],
        &["identity", "find", "nothing"],
        &["create", "mac", "--macos"],
        &["create", "a", "--identity", "ecid:1"],
        &["identity", "export", "web2", "-o", "/no/such/folder/file"],
    ];
    for arguments in calls {
        let error = env.json(arguments).error();
        for hint in error["hints"].as_array().unwrap() {
            let Some(command) = hint["command"].as_str() else { continue };
            let Some(rest) = command.strip_prefix("selfsame ") else { continue };
            let mut shell = env.other("sh");
            shell.arg("-c").arg(format!("\"$0\" {rest} --help")).arg(&env.program);
            let output = env.finish(shell);
            assert_eq!(output.code(), 0, "`{command}`: {output}");
            seen += 1;
        }
    }
    assert!(seen > 8, "{seen}");
    assert!(crate::support::is_alive(pids.qemu));
}
