//! `selfsame screenshot`, and the screen that it takes.

use crate::support::TestEnv;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

#[test]
fn a_picture_is_made_of_a_screen_and_never_over_another() {
    let env = TestEnv::new();
    env.create("web1");
    drop(env.json(["screenshot", "web1"]).refused(9, "request.denied"));
    env.started("web1");
    let file = env.root().join("web1.png");
    let made = env.json(["screenshot", "web1"]).ok().json();
    assert_eq!(made["path"], "web1.png", "{made}");
    let picture = std::fs::read(&file).unwrap();
    assert!(picture.starts_with(PNG) && made["bytes"] == picture.len(), "{made}");
    std::fs::write(&file, "mine").unwrap();
    drop(env.json(["screenshot", "web1"]).refused(4, "file.exists"));
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    drop(env.run(["--yes", "screenshot", "web1"]).ok());
    assert!(std::fs::read(&file).unwrap().starts_with(PNG));
    assert_eq!(env.json(["screenshot", "-o", "-", "web1"]).code(), 2, "a picture is no JSON");
    let mut command = env.other("sh");
    command.arg("-c").arg("\"$0\" screenshot -o - web1 | head -c 4 | tail -c 3").arg(&env.program);
    assert_eq!(env.finish(command).ok().stdout, "PNG");
    let all = crate::support::together(8, |index| {
        env.run(["screenshot", "web1", "-o", &format!("{index}.png")]).code()
    });
    assert_eq!(all, [0; 8], "many at once");
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}

#[test]
fn a_guest_without_a_screen_has_no_picture_and_its_state_no_other_screen() {
    let env = TestEnv::new();
    env.create_with("web1", &["--no-disk", "--display", "none"]);
    assert_eq!(env.get("web1")["display"], "none");
    env.started("web1");
    let error = env.json(["screenshot", "web1"]).refused(9, "request.denied");
    assert!(error["hints"].to_string().contains("set --display vga"), "{error}");
    drop(env.run(["suspend", "web1"]).ok());
    drop(env.run(["set", "web1", "--display", "vga"]).ok());
    let error = env.start("web1").refused(9, "state.mismatch");
    assert!(
        error["detail"].as_str().unwrap().contains("its display was none then, and is vga now"),
        "{error}"
    );
    assert!(error["hints"].to_string().contains("selfsame set --display none web1"), "{error}");
    drop(env.run(["set", "web1", "--display", "none"]).ok());
    drop(env.start("web1").ok());
    drop(env.run(["kill", "web1"]).ok());
    // Until it was thrown away, it is suspended.
    drop(env.run(["suspend", "--discard", "--yes", "web1"]).ok());
    drop(env.run(["set", "web1", "--display", "vga"]).ok());
    assert!(!std::fs::read_to_string(env.folder("web1").join("vm.toml")).unwrap().contains("display"));
    env.started("web1");
    drop(env.run(["screenshot", "web1"]).ok());
}
