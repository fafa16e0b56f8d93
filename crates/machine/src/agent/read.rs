//! Answers of the agent, by what was asked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

/// No guest has more interfaces that anybody wants to see, and no interface more addresses.
const INTERFACES: usize = 64;
/// No name or version is longer.
const WORD: usize = 256;
/// So many commands of the agent are remembered.
const COMMANDS: usize = 512;

/// An answer that does not fit the question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its answer to `{asked}` {wrong}")]
pub struct Misshapen {
    /// What was asked.
    pub asked: &'static str,
    /// What is wrong, a clause about the answer.
    pub wrong: &'static str,
}

fn shaped<'de, T: Deserialize<'de>>(value: &'de Value, asked: &'static str) -> Result<T, Misshapen> {
    T::deserialize(value).map_err(|_| Misshapen { asked, wrong: "has another shape than it must have" })
}

fn short(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).take(WORD).collect()
}

/// A command that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Executed {
    /// By this number the agent tells what becomes of it. It is a process of the guest.
    pub pid: i64,
}

impl Executed {
    /// Reads the answer to `guest-exec`.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(value: &Value) -> Result<Self, Misshapen> {
        shaped(value, "guest-exec")
    }
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecStatus {
    /// It still runs.
    Running,
    /// It has ended.
    Ended {
        /// The status that a shell of the guest would show: its own, or 128 and the number of the signal that ended it.
        status: u8,
        /// The signal that ended it.
        signal: Option<u8>,
        /// What it wrote.
        output: Vec<u8>,
        /// What it wrote to standard error.
        errors: Vec<u8>,
        /// Whether the agent threw some of the output away.
        output_truncated: bool,
        /// The same of standard error.
        errors_truncated: bool,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Wire {
    exited: bool,
    #[serde(default)]
    exitcode: Option<i64>,
    #[serde(default)]
    signal: Option<i64>,
    #[serde(default)]
    out_data: String,
    #[serde(default)]
    err_data: String,
    #[serde(default)]
    out_truncated: bool,
    #[serde(default)]
    err_truncated: bool,
}

impl ExecStatus {
    /// Reads the answer to `guest-exec-status`.
    ///
    /// # Errors
    /// When it is none: an ended command has a status from 0 to 255 or was ended by a signal, and its output is base64.
    pub fn read(value: &Value) -> Result<Self, Misshapen> {
        let asked = "guest-exec-status";
        let wire: Wire = shaped(value, asked)?;
        if !wire.exited {
            return Ok(Self::Running);
        }
        let signal = match wire.signal {
            None => None,
            Some(signal) => Some(
                u8::try_from(signal)
                    .ok()
                    .filter(|signal| (1..=127).contains(signal))
                    .ok_or(Misshapen { asked, wrong: "names a signal that is none" })?,
            ),
        };
        let code = wire.exitcode.map(u8::try_from).transpose();
        let code = code.map_err(|_| Misshapen { asked, wrong: "has an exit status that is none" })?;
        let status = match (signal, code) {
            (Some(signal), _) => 128_u8.saturating_add(signal),
            (None, Some(code)) => code,
            (None, None) => return Err(Misshapen { asked, wrong: "does not say how the command ended" }),
        };
        let decoded = |text: &str| {
            STANDARD.decode(text).map_err(|_| Misshapen { asked, wrong: "has output that is no base64" })
        };
        Ok(Self::Ended {
            status,
            signal,
            output: decoded(&wire.out_data)?,
            errors: decoded(&wire.err_data)?,
            output_truncated: wire.out_truncated,
            errors_truncated: wire.err_truncated,
        })
    }
}

/// What the agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentInfo {
    /// Its version.
    pub version: String,
    /// The commands that it allows.
    pub allowed: Vec<String>,
}

impl AgentInfo {
    /// Reads the answer to `guest-info`.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(value: &Value) -> Result<Self, Misshapen> {
        #[derive(Deserialize)]
        struct Info {
            version: String,
            #[serde(default)]
            supported_commands: Vec<Supported>,
        }
        #[derive(Deserialize)]
        struct Supported {
            name: String,
            enabled: bool,
        }
        let info: Info = shaped(value, "guest-info")?;
        let allowed = info.supported_commands.into_iter().filter(|command| command.enabled);
        let allowed = allowed.take(COMMANDS).map(|command| short(&command.name)).collect();
        Ok(Self { version: short(&info.version), allowed })
    }
}

/// A network interface of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name in the guest.
    pub name: String,
    /// Its hardware address, where it has one.
    pub mac: Option<String>,
    /// Its addresses with the lengths of their networks.
    pub addresses: Vec<(std::net::IpAddr, u8)>,
}

impl Interface {
    /// Reads the answer to `guest-network-get-interfaces`. Addresses that are none are left out, and so is what is beyond 64
    /// of each.
    ///
    /// # Errors
    /// When it is none.
    pub fn read_all(value: &Value) -> Result<Vec<Self>, Misshapen> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct One {
            name: String,
            #[serde(default)]
            hardware_address: Option<String>,
            #[serde(default)]
            ip_addresses: Vec<Address>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Address {
            ip_address: String,
            #[serde(default)]
            prefix: u8,
        }
        let all: Vec<One> = shaped(value, "guest-network-get-interfaces")?;
        let one = |one: One| {
            let addresses = one.ip_addresses.into_iter();
            let addresses =
                addresses.filter_map(|address| Some((address.ip_address.parse().ok()?, address.prefix)));
            Self {
                name: short(&one.name),
                mac: one.hardware_address.as_deref().map(short),
                addresses: addresses.take(INTERFACES).collect(),
            }
        };
        Ok(all.into_iter().take(INTERFACES).map(one).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(value: &Value) -> &'static str {
        ExecStatus::read(value).unwrap_err().wrong
    }

    #[test]
    fn an_ended_command_is_told_as_a_shell_would() {
        assert_eq!(ExecStatus::read(&json!({ "exited": false })), Ok(ExecStatus::Running));
        let ended = |value: &Value| match ExecStatus::read(value).unwrap() {
            ExecStatus::Ended { status, signal, output, output_truncated, .. } => {
                (status, signal, output, output_truncated)
            }
            ExecStatus::Running => panic!("it has ended"),
        };
        assert_eq!(ended(&json!({ "exited": true, "exitcode": 7 })), (7, None, vec![], false));
        let signalled = json!({ "exited": true, "signal": 9, "out-data": "aGkK", "out-truncated": true });
        assert_eq!(ended(&signalled), (137, Some(9), b"hi\n".to_vec(), true));
    }

    #[test]
    fn a_lie_about_the_end_is_no_end() {
        assert_eq!(wrong(&json!({ "exited": true })), "does not say how the command ended");
        for code in [-1_i64, 256, i64::MAX] {
            let value = json!({ "exited": true, "exitcode": code });
            assert_eq!(wrong(&value), "has an exit status that is none");
        }
        for signal in [-9_i64, 0, 128, 300] {
            assert_eq!(wrong(&json!({ "exited": true, "signal": signal })), "names a signal that is none");
        }
        let value = json!({ "exited": true, "exitcode": 0, "out-data": "!" });
        assert_eq!(wrong(&value), "has output that is no base64");
        for value in [json!(null), json!([]), json!("x"), json!({ "exited": 1 }), json!({})] {
            assert_eq!(wrong(&value), "has another shape than it must have");
        }
        assert!(Executed::read(&json!({ "pid": "1" })).is_err());
        assert_eq!(Executed::read(&json!({ "pid": 4 })), Ok(Executed { pid: 4 }));
    }

    #[test]
    fn what_an_agent_tells_of_itself_and_its_network_is_bounded() {
        let info = json!({ "version": "7.2.1\u{1b}", "supported_commands": [
            { "name": "guest-exec", "enabled": true, "success-response": true },
            { "name": "guest-shutdown", "enabled": false },
        ] });
        let allowed = vec!["guest-exec".to_owned()];
        assert_eq!(AgentInfo::read(&info), Ok(AgentInfo { version: "7.2.1".into(), allowed }));
        let address = json!({ "ip-address": "10.0.2.15", "prefix": 24, "ip-address-type": "ipv4" });
        let nonsense = json!({ "ip-address": "10.0.2", "prefix": 24 });
        let card = json!({ "name": "eth0", "hardware-address": "52:54:00:12:34:56", "ip-addresses": [nonsense, address] });
        let many = Value::Array(vec![card; 100]);
        let read = Interface::read_all(&many).unwrap();
        assert_eq!(read.len(), 64);
        assert_eq!(read[0].addresses, [("10.0.2.15".parse().unwrap(), 24)]);
        assert!(Interface::read_all(&json!({ "name": "eth0" })).is_err());
    }
}
