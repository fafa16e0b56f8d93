//! How a guest of the back end `sim` behaves: as text, for the command line and the record of a run.
//!
//! ```text
//! WORD[,WORD…]     nothing at all: every order is carried out at once
//!   delay=TIME     each transition takes so long (`delay=200ms`)
//!   step           each transition waits until it is poked
//!   fail-start, hang-start, hang, no-power-down, fail-save, panic, end
//! ```
//!
//! Pure: what is played with it stands in `selfsame_host::sim`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::span::Span;

macro_rules! faults {
    ($($variant:ident $word:literal, $meaning:literal;)+) => {
        /// A way to misbehave.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $(#[doc = $meaning] $variant,)+
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word for it.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

faults! {
    FailStart "fail-start", "The start comes to nothing.";
    HangStart "hang-start", "Nothing is heard of the start.";
    Hang "hang", "Once it is up, no order has an effect but that it is killed.";
    NoPowerDown "no-power-down", "The power button has no effect.";
    FailSave "fail-save", "Its state cannot be saved.";
    Panic "panic", "Its kernel panics as soon as it is up.";
    End "end", "It powers itself off as soon as it is up.";
}

/// How a guest behaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// How long each transition takes.
    pub delay: Duration,
    /// Each transition waits until it is poked.
    pub stepped: bool,
    /// In which ways it misbehaves.
    pub faults: BTreeSet<Fault>,
}

impl Behaviour {
    /// Whether it misbehaves in this way.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}

/// The text says no behaviour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no behaviour of a simulated guest; there are delay=TIME, step, {}", Fault::ALL.iter().map(|fault| fault.text()).collect::<Vec<_>>().join(", "))]
pub struct NoBehaviour {
    /// The word that is none.
    pub word: String,
}

impl FromStr for Behaviour {
    type Err = NoBehaviour;

    fn from_str(text: &str) -> Result<Self, NoBehaviour> {
        let mut behaviour = Self::default();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let unknown = || NoBehaviour { word: word.to_owned() };
            if let Some(delay) = word.strip_prefix("delay=") {
                behaviour.delay = delay.parse::<Span>().map_err(|_| unknown())?.duration();
            } else if word == "step" {
                behaviour.stepped = true;
            } else {
                let fault = Fault::ALL.iter().find(|fault| fault.text() == word).ok_or_else(unknown)?;
                behaviour.faults.insert(*fault);
            }
        }
        Ok(behaviour)
    }
}

/// As it is read.
impl fmt::Display for Behaviour {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delay = (!self.delay.is_zero()).then(|| format!("delay={}ms", self.delay.as_millis()));
        let step = self.stepped.then(|| "step".to_owned());
        let faults = self.faults.iter().map(|fault| fault.text().to_owned());
        let words: Vec<String> = delay.into_iter().chain(step).chain(faults).collect();
        formatter.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_behaviour_reads_back_as_it_is_shown() {
        for text in ["", "delay=200ms", "delay=2000ms,step,fail-start,hang", "panic,end"] {
            assert_eq!(text.parse::<Behaviour>().unwrap().to_string(), text);
        }
        assert_eq!(",hang,,step,".parse::<Behaviour>().unwrap().to_string(), "step,hang");
    }

    #[test]
    fn an_unknown_word_is_refused_by_name() {
        for text in ["fly", "delay", "delay=5x", "hang,Hang", "step "] {
            let refused = text.parse::<Behaviour>().unwrap_err();
            assert!(text.ends_with(&refused.word), "{refused}");
        }
    }
}
