//! Changing a `vm.toml` without losing what people wrote into it: comments, order, blanks and line ends stay.
//!
//! The text is taken apart only to find where a key and its value stand; the rest is copied. **Invariant:** what comes
//! out reads as exactly the description that was meant, or nothing comes out.

use std::ops::Range;

use toml::de::DeTable;

use super::{Display, Folder, Spec, SpecError};
use crate::identity::MacAddress;
use crate::network::{Forward, Network};
use crate::size::Bytes;

/// What is to be another value; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Virtual processors.
    pub cpus: Option<u32>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// The network card's address; the inner `None` takes it away, so that one follows from the identity.
    pub mac_address: Option<Option<MacAddress>>,
    /// To whom the network card leads.
    pub network: Option<Network>,
    /// All ports of the host that lead into it.
    pub ports: Option<Vec<Forward>>,
    /// The versioned machine type.
    pub machine: Option<String>,
    /// The guest's screen.
    pub display: Option<Display>,
    /// Whether the VM is kept from being deleted.
    pub protected: Option<bool>,
    /// The folders of the host that the guest can mount, all of them.
    pub folders: Option<Vec<Folder>>,
    /// Whether it is started when its user's session begins.
    pub autostart: Option<bool>,
}

/// Why a text cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The text as it stands cannot be used.
    #[error("it cannot be used as it stands")]
    Before(#[source] SpecError),
    /// It could not be used any more.
    #[error("it could not be used any more")]
    After(#[source] SpecError),
    /// It is written in a way in which a value cannot be exchanged alone.
    #[error("it is written in a way in which `{key}` cannot be changed without touching the rest")]
    Entangled {
        /// The first key that was to be changed.
        key: &'static str,
    },
}

impl Change {
    /// The description with the change made. It is not checked.
    #[must_use]
    pub fn of(&self, spec: &Spec) -> Spec {
        let mut changed = spec.clone();
        changed.cpus = self.cpus.unwrap_or(spec.cpus);
        changed.memory = self.memory.unwrap_or(spec.memory);
        changed.mac_address = self.mac_address.unwrap_or(spec.mac_address);
        changed.network = self.network.unwrap_or(spec.network);
        changed.ports = self.ports.clone().unwrap_or(changed.ports);
        changed.machine = self.machine.clone().or(changed.machine);
        changed.display = self.display.unwrap_or(spec.display);
        changed.protected = self.protected.unwrap_or(spec.protected);
        changed.folders = self.folders.clone().unwrap_or(changed.folders);
        changed.autostart = self.autostart.unwrap_or(spec.autostart);
        changed
    }

    /// The text with the change made, and what it reads as. A value that is so already is not written again.
    ///
    /// # Errors
    /// When the text cannot be used before or afterwards, or a value cannot be exchanged alone.
    pub fn edit(&self, text: &str) -> Result<(String, Spec), ChangeError> {
        let before = Spec::read(text).map_err(ChangeError::Before)?;
        let meant = self.of(&before);
        meant.check().map_err(ChangeError::After)?;
        let differing =
            |key: &'static str, differs: bool, value: Option<String>| differs.then_some((key, value));
        let quoted = |value: &str| toml::Value::from(value).to_string();
        let values = [
            differing("cpus", meant.cpus != before.cpus, Some(meant.cpus.to_string())),
            differing("memory", meant.memory != before.memory, Some(quoted(&meant.memory.to_string()))),
            differing(
                "mac_address",
                meant.mac_address != before.mac_address,
                meant.mac_address.map(|mac| quoted(&mac.to_string())),
            ),
            differing(
                "network",
                meant.network != before.network,
                (meant.network != Network::default()).then(|| quoted(meant.network.text())),
            ),
            differing(
                "ports",
                meant.ports != before.ports,
                (!meant.ports.is_empty()).then(|| {
                    let texts: Vec<String> =
                        meant.ports.iter().map(|port| quoted(&port.to_string())).collect();
                    format!("[{}]", texts.join(", "))
                }),
            ),
            differing("machine", meant.machine != before.machine, meant.machine.as_deref().map(quoted)),
            differing(
                "display",
                meant.display != before.display,
                (meant.display != Display::default()).then(|| quoted(meant.display.text())),
            ),
            differing(
                "protected",
                meant.protected != before.protected,
                meant.protected.then(|| "true".to_owned()),
            ),
            differing(
                "folders",
                meant.folders != before.folders,
                (!meant.folders.is_empty()).then(|| list(&meant.folders)),
            ),
            differing(
                "autostart",
                meant.autostart != before.autostart,
                meant.autostart.then(|| "true".to_owned()),
            ),
        ];
        let mut edited = text.to_owned();
        let mut first = "schema";
        for (key, value) in values.into_iter().flatten().rev() {
            first = key;
            edited = with_value(&edited, key, value.as_deref()).ok_or(ChangeError::Entangled { key })?;
        }
        if Spec::read(&edited).as_ref() == Ok(&meant) {
            Ok((edited, meant))
        } else {
            Err(ChangeError::Entangled { key: first })
        }
    }
}

/// Folders as one value, in one line.
fn list(folders: &[Folder]) -> String {
    let text = |value: &str| toml::Value::from(value).to_string();
    let folder = |folder: &Folder| {
        let read_only = if folder.read_only { ", read_only = true" } else { "" };
        format!("{{ tag = {}, path = {}{read_only} }}", text(&folder.tag), text(&folder.path))
    };
    format!("[{}]", folders.iter().map(folder).collect::<Vec<_>>().join(", "))
}

/// Where the key and its value stand at the top of the text.
fn place(text: &str, key: &str) -> Option<(Range<usize>, Range<usize>)> {
    let table = DeTable::parse(text).ok()?;
    let (name, value) = table.get_ref().iter().find(|(name, _)| name.get_ref().as_ref() == key)?;
    Some((name.span(), value.span()))
}

/// The text with the value of one key at its top exchanged, taken away, or put in behind `schema`.
fn with_value(text: &str, key: &str, value: Option<&str>) -> Option<String> {
    let line_end =
        |from: usize| text.get(from..).map(|rest| from + rest.find('\n').map_or(rest.len(), |at| at + 1));
    let (cut, put) = match (place(text, key), value) {
        (Some((_, old)), Some(value)) => (old, value.to_owned()),
        (Some((name, old)), None) => {
            let start = text.get(..name.start)?.rfind('\n').map_or(0, |at| at + 1);
            let end = line_end(old.end)?;
            let behind = text.get(old.end..end)?;
            // A comment behind the value is somebody's word and stays.
            let kept = if behind.trim().is_empty() { "" } else { behind.trim_start() };
            (start..end, kept.to_owned())
        }
        (None, Some(value)) => {
            let (_, schema) = place(text, "schema")?;
            let end = line_end(schema.end)?;
            let ended = text.get(schema.end..end)?;
            let newline = if ended.ends_with("\r\n") { "\r\n" } else { "\n" };
            let before = if ended.ends_with('\n') { "" } else { newline };
            (end..end, format!("{before}{key} = {value}{newline}"))
        }
        (None, None) => return Some(text.to_owned()),
    };
    Some([text.get(..cut.start)?, &put, text.get(cut.end..)?].concat())
}

/// Whether a text protects its VM, also where it cannot be used otherwise: a mistake in another line lifts nothing.
#[must_use]
pub fn says_protected(text: &str) -> bool {
    match Spec::read(text) {
        Ok(spec) => spec.protected,
        Err(_) => text.lines().any(|line| {
            let mut words = line.splitn(2, '=').map(str::trim);
            let key = words.next().unwrap_or_default().trim_matches(['"', '\'']);
            key == "protected" && words.next().is_some_and(|value| value.starts_with("true"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = "\
# the front door
  schema = 1 # keep
\"cpus\" = 0x3 # few

memory='2GiB'   # enough
mac_address = \"06:e8:a3:b0:23:b4\" # of the old card
[boot] # as ever
firmware = \"bios\"
";

    fn edited(change: &Change) -> String {
        let (text, spec) = change.edit(WRITTEN).unwrap();
        assert_eq!(spec, change.of(&Spec::read(WRITTEN).unwrap()));
        text
    }

    #[test]
    fn a_value_is_exchanged_where_it_stands() {
        let change = Change { cpus: Some(4), memory: Some(Bytes::gibibytes(4)), ..Change::default() };
        assert_eq!(edited(&change), WRITTEN.replace("0x3", "4").replace("'2GiB'", "\"4GiB\""));
    }

    #[test]
    fn what_is_new_comes_behind_the_schema_and_what_goes_leaves_its_comment() {
        let change = Change {
            machine: Some("pc-q35-7.2".into()),
            protected: Some(true),
            mac_address: Some(None),
            ..Change::default()
        };
        let expected = WRITTEN
            .replace("# keep\n", "# keep\nmachine = \"pc-q35-7.2\"\nprotected = true\n")
            .replace("mac_address = \"06:e8:a3:b0:23:b4\" # of", "# of");
        assert_eq!(edited(&change), expected);
        let lifted = Change { protected: Some(false), ..Change::default() };
        let text = lifted.edit("schema = 1\nprotected = true\ncpus = 3").unwrap().0;
        assert_eq!(text, "schema = 1\ncpus = 3");
    }

    #[test]
    fn ports_are_exchanged_as_a_list_and_go_with_their_last() {
        let ports = |texts: &[&str]| Change {
            ports: Some(texts.iter().map(|text| text.parse().unwrap()).collect()),
            network: Some(Network::Isolated),
            ..Change::default()
        };
        let text = "schema = 1\nports = [\n  \"80:80\", # web\n] # mine\n";
        let (changed, _) = ports(&["81:80", "1:2/udp"]).edit(text).unwrap();
        assert_eq!(changed, "schema = 1\nnetwork = \"isolated\"\nports = [\"81:80\", \"1:2/udp\"] # mine\n");
        let none = Change { network: Some(Network::Nat), ..ports(&[]) };
        assert_eq!(none.edit(&changed).unwrap().0, "schema = 1\n# mine\n");
        assert!(matches!(ports(&["80:1", "80:2"]).edit(text), Err(ChangeError::After(_))));
    }

    #[test]
    fn a_screen_is_taken_away_and_given_back() {
        let display = |display| Change { display: Some(display), ..Change::default() };
        let without = display(Display::None).edit("schema = 1\n").unwrap().0;
        assert_eq!(without, "schema = 1\ndisplay = \"none\"\n");
        assert_eq!(display(Display::Vga).edit(&without).unwrap().0, "schema = 1\n");
    }

    #[test]
    fn what_is_so_already_is_not_touched() {
        let same = Change {
            cpus: Some(3),
            memory: Some(Bytes::gibibytes(2)),
            protected: Some(false),
            ..Change::default()
        };
        assert_eq!(edited(&same), WRITTEN);
        assert_eq!(edited(&Change::default()), WRITTEN);
    }

    #[test]
    fn folders_are_exchanged_as_one_value_and_not_where_they_are_tables() {
        let folder =
            |tag: &str| Folder { tag: tag.into(), path: format!("/{tag}\n'\""), read_only: tag == "b" };
        let change = |folders: Vec<Folder>| Change { folders: Some(folders), ..Change::default() };
        let (text, _) = change(vec![folder("a"), folder("b")]).edit(WRITTEN).unwrap();
        let (text, spec) = change(vec![folder("c")]).edit(&text).unwrap();
        assert_eq!(spec.folders, [folder("c")]);
        assert_eq!(change(Vec::new()).edit(&text).unwrap().0, WRITTEN);
        let tables = "schema = 1\n[[folders]]\ntag = 'a'\npath = '/a'\n";
        assert_eq!(change(Vec::new()).edit(tables), Err(ChangeError::Entangled { key: "folders" }));
    }

    #[test]
    fn line_ends_stay_as_they_are() {
        let change = Change { cpus: Some(4), ..Change::default() };
        assert_eq!(change.edit("schema = 1").unwrap().0, "schema = 1\ncpus = 4\n");
        let dos = "schema = 1\r\n[boot]\r\nfirmware = 'bios'\r\n";
        assert_eq!(change.edit(dos).unwrap().0, dos.replace("1\r\n", "1\r\ncpus = 4\r\n"));
    }

    #[test]
    fn a_change_that_cannot_be_is_refused() {
        let cpus = |count| Change { cpus: Some(count), ..Change::default() };
        for count in [0, 257, u32::MAX] {
            assert!(matches!(cpus(count).edit(WRITTEN), Err(ChangeError::After(_))), "{count}");
        }
        let memory = Change { memory: Some(Bytes::new((64 << 20) + 1)), ..Change::default() };
        assert!(matches!(memory.edit(WRITTEN), Err(ChangeError::After(_))));
        assert!(matches!(cpus(4).edit("schema = 2"), Err(ChangeError::Before(_))));
        assert!(matches!(cpus(4).edit("cpus = 4"), Err(ChangeError::Before(_))));
    }

    #[test]
    fn a_mistake_elsewhere_lifts_no_protection() {
        for text in [
            "schema = 1\nprotected = true",
            "protected = true\ncpus = ",
            "schema = 9\n \"protected\"=true # mine",
        ] {
            assert!(says_protected(text), "{text}");
        }
        for text in ["", "schema = 1", "schema = 1\nprotected = false\ncpus =", "# protected = true\ncpus ="]
        {
            assert!(!says_protected(text), "{text}");
        }
    }
}
