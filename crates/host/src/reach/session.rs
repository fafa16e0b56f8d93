//! One run of the system's OpenSSH, told where and as whom, and what came of it.
//!
//! `ssh` ends with the guest's own status, and with 255 when it failed itself, which a guest's command may end with as
//! well. Its log tells the two apart: at the level `DEBUG1`, it says when the server reported a status (`rtype
//! exit-status`, since OpenSSH 3) or a signal. So the log goes into a file, where it is read afterwards and nobody else
//! sees it; what was meant for people in it is told in the error.

use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use selfsame_machine::problem::{Report, shell_word};

use super::door::{Door, Login};
use super::problem::ReachError;

/// The end of a log that is looked through.
const LOG_TAIL: u64 = 256 * 1024;
/// So many lines of OpenSSH's are told.
const LINES: usize = 10;

/// What is run in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// The user's shell, to type into.
    Shell,
    /// A line for the user's shell.
    Line(OsString),
    /// A program and its arguments, which reach it as they are.
    Words(Vec<OsString>),
}

impl Remote {
    /// The one word that OpenSSH sends.
    fn line(&self) -> Option<OsString> {
        match self {
            Self::Shell => None,
            Self::Line(line) => Some(line.clone()),
            Self::Words(words) => {
                Some(words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(OsStr::new(" ")))
            }
        }
    }
}

/// A word that a POSIX shell reads as it is, also where it is no text.
fn quoted(word: &OsStr) -> OsString {
    if let Some(text) = word.to_str() {
        return shell_word(text).into_owned().into();
    }
    let mut quoted = OsString::from("'");
    let parts: Vec<&OsStr> = word.as_bytes().split(|byte| *byte == b'\'').map(OsStr::from_bytes).collect();
    quoted.push(parts.join(OsStr::new(r"'\''")));
    quoted.push("'");
    quoted
}

/// A program of OpenSSH with all its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    door: Door,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    name: &'static str,
}

impl Session {
    /// `ssh` into a guest. `terminal`: give the guest's command a terminal, also where it would get none.
    ///
    /// # Errors
    /// When there is no `ssh`, or host keys cannot be remembered.
    pub fn ssh(door: &Door, login: &Login, remote: &Remote, terminal: bool) -> Result<Self, ReachError> {
        let mut session = Self::new(door, "ssh")?;
        session.options(login, "-p")?;
        if terminal {
            session.arguments.push("-tt".into());
        }
        if let Some(user) = login.user.as_ref().or(door.user.as_ref()) {
            session.arguments.extend(["-l".into(), user.into()]);
        }
        // Behind the host, because `ssh` reads options there as well.
        session.arguments.extend([door.at.ip().to_string().into(), "--".into()]);
        session.arguments.extend(remote.line());
        Ok(session)
    }

    /// `scp` of one file, or of a folder with all in it, out of a guest or into it.
    ///
    /// # Errors
    /// As [`Session::ssh`].
    pub fn scp(
        door: &Door,
        login: &Login,
        (from_guest, source): (bool, &OsStr),
        target: &OsStr,
        recursive: bool,
    ) -> Result<Self, ReachError> {
        let mut session = Self::new(door, "scp")?;
        session.options(login, "-P")?;
        if recursive {
            session.arguments.push("-r".into());
        }
        let user = login.user.as_ref().or(door.user.as_ref());
        let there = |path: &OsStr| {
            let mut word = OsString::from(user.map(|user| format!("{user}@")).unwrap_or_default());
            word.push(format!("{}:", door.at.ip()));
            word.push(path);
            word
        };
        let (source, target) =
            if from_guest { (there(source), here(target)) } else { (here(source), there(target)) };
        session.arguments.extend(["--".into(), source, target]);
        Ok(session)
    }

    fn new(door: &Door, name: &'static str) -> Result<Self, ReachError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
        let program = places.find_map(|folder| Some(folder.join(name)).filter(|program| program.is_file()));
        let program = program.ok_or(ReachError::Missing { program: name })?;
        Ok(Self { door: door.clone(), program, arguments: Vec::new(), name })
    }

    fn options(&mut self, login: &Login, port: &str) -> Result<(), ReachError> {
        self.door.known_hosts.usable()?;
        self.arguments.extend(["-F", "none", port].map(OsString::from));
        self.arguments.push(self.door.at.port().to_string().into());
        for (key, value) in settings(&self.door)? {
            self.arguments.extend(["-o".into(), format!("{key}={value}").into()]);
        }
        if let Some(key) = login.key.as_ref().or(self.door.key.as_ref()) {
            self.arguments.extend(["-i".into(), key.into()]);
        }
        Ok(())
    }

    /// The whole vector: the program, and its arguments.
    #[must_use]
    pub fn words(&self) -> Vec<OsString> {
        std::iter::once(self.program.clone().into()).chain(self.arguments.iter().cloned()).collect()
    }

    /// Runs `ssh` with this process's own input and outputs, and gives the status of what ran in the guest. A command that a
    /// signal ended there counts as 255, as `ssh` has it.
    ///
    /// # Errors
    /// When it did not get through, the connection was lost, or the guest shows another host key.
    pub fn run(&self) -> Result<u8, Report> {
        let failed = |source| ReachError::Start { program: self.program.clone(), source };
        let mut log = Log::new().map_err(failed)?;
        let mut command = Command::new(&self.program);
        command.arg("-E").arg(log.path()).args(["-o", "LogLevel=DEBUG1"]).args(&self.arguments);
        let status = command.status().map_err(failed)?;
        let said = tail(log.file());
        match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(255) if !reported(&said) => Err(self.failure(&said)),
            Some(code) => Ok(code),
            None => {
                let signal = status.signal().unwrap_or_default();
                let said = format!("it was ended by signal {signal}");
                Err(self.failure(&said))
            }
        }
    }

    /// Runs `scp`; its progress goes to this process's output. Gives what it said although it did all.
    ///
    /// # Errors
    /// When it did not copy all, or the guest shows another host key.
    pub fn copy(&self) -> Result<Vec<String>, Report> {
        let failed = |source| ReachError::Start { program: self.program.clone(), source };
        let mut command = Command::new(&self.program);
        let mut child = command.args(&self.arguments).stderr(Stdio::piped()).spawn().map_err(failed)?;
        let mut said = Vec::new();
        if let Some(stderr) = &mut child.stderr {
            // What is beyond the limit is read and thrown away, so that nothing ever waits for us.
            let kept = stderr.by_ref().take(LOG_TAIL).read_to_end(&mut said);
            drop(kept.and_then(|_| std::io::copy(stderr, &mut std::io::sink())));
        }
        let status = child.wait().map_err(failed)?;
        let said = String::from_utf8_lossy(&said);
        if status.success() { Ok(lines(&said)) } else { Err(self.failure(&said)) }
    }

    fn failure(&self, said: &str) -> Report {
        let name = self.door.name.clone();
        // Two places of OpenSSH's sshconnect.c say so, for years in the same words.
        if said.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
            return ReachError::HostKeyChanged { name }.into();
        }
        let mut said_before = lines(said);
        let last = said_before.pop();
        let denied = said.contains("Permission denied (");
        let mut report = Report::from(ReachError::Failed { name, program: self.name, said: last, denied });
        report.causes.extend(said_before);
        report
    }
}

/// A local file's name, which `scp` must not take for an option or for another host's.
fn here(path: &OsStr) -> OsString {
    let bytes = path.as_bytes();
    let colon = bytes.iter().position(|byte| *byte == b':');
    let slash = bytes.iter().position(|byte| *byte == b'/');
    let is_remote = colon.is_some_and(|colon| slash.is_none_or(|slash| colon < slash));
    if is_remote || bytes.starts_with(b"-") {
        Path::new(".").join(path).into_os_string()
    } else {
        path.to_owned()
    }
}

/// What OpenSSH is told of every guest, as its configuration names it.
fn settings(door: &Door) -> Result<Vec<(&'static str, String)>, ReachError> {
    let path = door.known_hosts.path();
    let unspeakable = || ReachError::Unspeakable { path: path.to_owned() };
    let text = path.to_str().ok_or_else(unspeakable)?;
    if text.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) || text.contains("${") {
        return Err(unspeakable());
    }
    let known = format!("\"{}\"", text.replace('%', "%%"));
    Ok(vec![
        ("HostKeyAlias", door.alias.clone()),
        ("UserKnownHostsFile", known),
        ("GlobalKnownHostsFile", "/dev/null".to_owned()),
        ("StrictHostKeyChecking", "accept-new".to_owned()),
        // The address is the host's own and says nothing about the guest.
        ("CheckHostIP", "no".to_owned()),
        ("HashKnownHosts", "no".to_owned()),
        ("UpdateHostKeys", "no".to_owned()),
        ("ForwardAgent", "no".to_owned()),
        ("ForwardX11", "no".to_owned()),
        ("ControlPath", "none".to_owned()),
        // A guest that is paused or gone is noticed.
        ("ServerAliveInterval", "15".to_owned()),
    ])
}

/// A block for a configuration of OpenSSH's own, with the names by which the guest is then called.
///
/// # Errors
/// When OpenSSH's syntax has no place for a name.
pub fn ssh_config(door: &Door, login: &Login) -> Result<(Vec<String>, String), ReachError> {
    let plain = |name: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
        !name.is_empty() && name.chars().all(allowed)
    };
    // A name with blanks or with signs that match others is told by the other name only.
    let own = Some(door.name.name.clone()).filter(|name| plain(name));
    let names: Vec<String> = own.into_iter().chain([door.alias.clone()]).collect();
    let mut text = format!("Host {}\n", names.join(" "));
    let mut line = |key: &str, value: &str| text.push_str(&format!("    {key} {value}\n"));
    line("HostName", &door.at.ip().to_string());
    line("Port", &door.at.port().to_string());
    if let Some(user) = login.user.as_ref().or(door.user.as_ref()) {
        line("User", &word(user)?);
    }
    if let Some(key) = login.key.as_ref().or(door.key.as_ref()) {
        let name = key.to_str().ok_or_else(|| ReachError::Unspeakable { path: key.clone() })?;
        line("IdentityFile", &word(&name.replace('%', "%%"))?);
    }
    for (key, value) in settings(door)? {
        line(key, &value);
    }
    Ok((names, text))
}

/// A word of OpenSSH's configuration.
fn word(text: &str) -> Result<String, ReachError> {
    if text.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) || text.contains("${") {
        return Err(ReachError::Unspeakable { path: text.into() });
    }
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+@/%".contains(c));
    Ok(if plain { text.to_owned() } else { format!("\"{text}\"") })
}

/// Where `ssh` writes its log.
#[cfg(target_os = "linux")]
struct Log(std::fs::File);

#[cfg(target_os = "linux")]
impl Log {
    fn new() -> std::io::Result<Self> {
        tempfile::tempfile().map(Self)
    }

    /// It has no name of its own, so that nothing is left of it when this process is killed.
    fn path(&self) -> PathBuf {
        use std::os::fd::AsRawFd as _;
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    fn file(&mut self) -> &mut std::fs::File {
        &mut self.0
    }
}

#[cfg(not(target_os = "linux"))]
struct Log(tempfile::NamedTempFile);

#[cfg(not(target_os = "linux"))]
impl Log {
    fn new() -> std::io::Result<Self> {
        tempfile::NamedTempFile::new().map(Self)
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    fn file(&mut self) -> &mut std::fs::File {
        self.0.as_file_mut()
    }
}

/// The end of a log.
fn tail(log: &mut std::fs::File) -> String {
    let mut bytes = Vec::new();
    let length = log.metadata().map_or(0, |metadata| metadata.len());
    let sought = log.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)));
    drop(sought.and_then(|_| log.take(LOG_TAIL).read_to_end(&mut bytes)));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether the guest said how its command ended.
fn reported(log: &str) -> bool {
    log.contains("rtype exit-status") || log.contains("rtype exit-signal")
}

/// The last lines that were meant for people, made printable.
fn lines(said: &str) -> Vec<String> {
    let for_people = said
        .lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>())
        .filter(|line| !line.trim().is_empty() && !line.starts_with("debug") && !line.starts_with("OpenSSH_"))
        .filter(|line| {
            !line.starts_with("Warning: Permanently added") && !line.starts_with("Authenticated to")
        })
        .filter(|line| !line.starts_with("Transferred: ") && !line.starts_with("Bytes per second"));
    let all: Vec<String> = for_people.collect();
    all.iter().skip(all.len().saturating_sub(LINES)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> Door {
        Door::for_tests(([127, 0, 0, 1], 61_022).into())
    }

    #[test]
    fn a_block_for_openssh_says_all_of_a_guest() {
        let (names, text) = ssh_config(&door(), &Login::default()).unwrap();
        assert_eq!(names, ["web1", "selfsame-0123456789abcdef"]);
        insta::assert_snapshot!(text, @r#"
        Host web1 selfsame-0123456789abcdef
            HostName 127.0.0.1
            Port 61022
            User debian
            HostKeyAlias selfsame-0123456789abcdef
            UserKnownHostsFile "/home/ann/.selfsame/known hosts"
            GlobalKnownHostsFile /dev/null
            StrictHostKeyChecking accept-new
            CheckHostIP no
            HashKnownHosts no
            UpdateHostKeys no
            ForwardAgent no
            ForwardX11 no
            ControlPath none
            ServerAliveInterval 15
        "#);
    }

    #[test]
    fn names_that_mean_something_to_openssh_do_not_stand_in_its_configuration() {
        for odd in ["my vm", "web*", "!web", "a\"b", "web?", "wéb", "a,b", "a#b"] {
            let mut door = door();
            door.name.name = odd.to_owned();
            let (names, _) = ssh_config(&door, &Login::default()).unwrap();
            assert_eq!(names, [door.alias.as_str()], "{odd}");
        }
        let mut door = door();
        door.user = Some("a b".into());
        let (_, text) = ssh_config(&door, &Login { key: Some("/k/50%".into()), ..Login::default() }).unwrap();
        assert!(text.contains("    User \"a b\"\n    IdentityFile /k/50%%\n"), "{text}");
        door.user = Some("x\nProxyCommand evil".into());
        assert!(matches!(ssh_config(&door, &Login::default()), Err(ReachError::Unspeakable { .. })));
    }

    #[test]
    fn words_reach_the_guest_as_they_are_and_a_line_as_a_line() {
        use std::os::unix::ffi::OsStringExt as _;
        let words =
            |words: &[&str]| Remote::Words(words.iter().map(OsString::from).collect()).line().unwrap();
        assert_eq!(words(&["ls", "-l", "a b", "it's", ""]), r"ls -l 'a b' 'it'\''s' ''");
        let odd = Remote::Words(vec![OsString::from_vec(b"\xff'".to_vec())]).line().unwrap();
        assert_eq!(odd.as_bytes(), b"'\xff'\\'''");
        assert_eq!(Remote::Line("ls | wc".into()).line().unwrap(), "ls | wc");
        assert_eq!(Remote::Shell.line(), None);
    }

    #[test]
    fn a_local_file_is_taken_for_no_host_and_no_option() {
        for (path, expected) in
            [("a", "a"), ("a:b", "./a:b"), ("-r", "./-r"), ("/x/a:b", "/x/a:b"), ("x/a:b", "x/a:b")]
        {
            assert_eq!(here(OsStr::new(path)), expected);
        }
    }

    #[test]
    fn the_guests_own_255_is_told_from_that_of_ssh() {
        let log = "debug1: Entering interactive session.\n\
                   debug1: client_input_channel_req: channel 0 rtype exit-status reply 0\n\
                   Transferred: sent 2, received 3 bytes, in 0.1 seconds\ndebug1: Exit status 255\n";
        assert!(reported(log));
        assert!(lines(log).is_empty());
        let lost = "OpenSSH_9.2p1 Debian\r\ndebug1: x\r\nConnection to 127.0.0.1 closed by remote host.\r\n";
        assert!(!reported(lost));
        assert_eq!(lines(lost), ["Connection to 127.0.0.1 closed by remote host."]);
    }

    #[test]
    fn another_host_key_is_told_in_our_own_words() {
        let session = Session { door: door(), program: "ssh".into(), arguments: Vec::new(), name: "ssh" };
        let said = "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.\n";
        let report = session.failure(said);
        assert_eq!(report.code.text(), "net.host_key_changed");
        let forget = report.hints.iter().filter_map(|hint| hint.command.as_deref()).next_back();
        assert_eq!(forget, Some("selfsame ssh --forget-host-key web1"));
        let denied = session.failure("first\ndebian@127.0.0.1: Permission denied (publickey).\n");
        assert_eq!(denied.causes, ["first"]);
        assert_eq!(denied.message, "`ssh` failed for web1: debian@127.0.0.1: Permission denied (publickey).");
        assert_eq!(denied.hints.len(), 1);
    }
}
