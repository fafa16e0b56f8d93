//! Identities: whom the library knows, VM or not.
//!
//! **Invariant.** A digest stands once, and so does a label. Whether a label could be taken for something else (a digest,
//! a path, an `ecid:` form) is the caller's to refuse.

use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension, Row, params};
use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, shell_word};

use super::{Store, StoreError};
use crate::time::Time;

/// How many hexadecimal digits of a digest name an identity at least.
const SHORTEST_ID: usize = 6;

/// An identity as a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityRow {
    /// SHA-256 of the canonical text, 64 lower-case hexadecimal digits.
    pub digest: String,
    /// `mac` or `generic`.
    pub kind: String,
    /// `ecid:0x…` or `uuid:…`
    pub canonical: String,
    /// The identifier's bytes as they came, never re-encoded.
    pub raw: Vec<u8>,
    /// The name people gave it.
    pub label: Option<String>,
    /// What people wrote about it.
    pub notes: String,
    /// Where it came from: `fresh`, `import`, `inverse`, `bundle`, …
    pub origin: String,
    /// The path, tool or number that goes with the origin.
    pub origin_detail: Option<String>,
    /// When the library first had it.
    pub first_seen: Time,
}

const COLUMNS: &str = "digest, kind, canonical, raw, label, notes, origin, origin_detail, first_seen";

fn read(row: &Row<'_>) -> rusqlite::Result<IdentityRow> {
    Ok(IdentityRow {
        digest: row.get(0)?,
        kind: row.get(1)?,
        canonical: row.get(2)?,
        raw: row.get(3)?,
        label: row.get(4)?,
        notes: row.get(5)?,
        origin: row.get(6)?,
        origin_detail: row.get(7)?,
        first_seen: row.get(8)?,
    })
}

/// Why an identity could not be kept, changed or deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The library has it.
    #[error("the library has {canonical} already{}", label.as_ref().map(|label| format!(", labelled `{label}`")).unwrap_or_default())]
    Exists {
        /// The identity.
        canonical: String,
        /// Its label there.
        label: Option<String>,
    },
    /// Another identity has the label.
    #[error("the label `{label}` belongs to {canonical}")]
    LabelTaken {
        /// The label.
        label: String,
        /// Whose it is.
        canonical: String,
    },
    /// The library does not have it.
    #[error("the library has no identity with the digest {digest}")]
    NotFound {
        /// The digest.
        digest: String,
    },
    /// The library failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Problem for IdentityError {
    fn code(&self) -> Code {
        match self {
            Self::Exists { .. } | Self::LabelTaken { .. } => Code::IdentityExists,
            Self::NotFound { .. } => Code::IdentityNotFound,
            Self::Store(error) => error.code(),
        }
    }

    fn hints(&self) -> Vec<Hint> {
        let show = |canonical: &str| {
            Hint::run("look at it", format!("selfsame identity show {}", shell_word(canonical)))
        };
        match self {
            Self::Exists { canonical, .. } => vec![show(canonical)],
            Self::LabelTaken { canonical, .. } => {
                vec![Hint::say("choose another label"), show(canonical)]
            }
            Self::NotFound { .. } => vec![Hint::run("see what there is", "selfsame identity list")],
            Self::Store(error) => error.hints(),
        }
    }
}

/// Whether the text can be a library id: the beginning of a digest, at least six digits.
#[must_use]
pub fn is_library_id(text: &str) -> bool {
    (SHORTEST_ID..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The table of identities.
#[derive(Debug, Clone, Copy)]
pub struct Identities<'s>(pub(super) &'s Store);

impl Identities<'_> {
    /// Keeps a new identity.
    ///
    /// # Errors
    /// [`IdentityError::Exists`] and [`IdentityError::LabelTaken`], with who is there.
    pub fn insert(&self, new: &IdentityRow) -> Result<(), IdentityError> {
        self.0.write("keep an identity in", |connection| {
            if let Some(known) = self.get(&new.digest)? {
                return Err(IdentityError::Exists { canonical: known.canonical, label: known.label });
            }
            self.put(connection, new)
        })
    }

    /// Keeps an identity that was met somewhere, unless the library has it; then only an earlier `first_seen` counts.
    /// Says whether it is new. Writes nothing when nothing changes.
    ///
    /// # Errors
    /// [`IdentityError::LabelTaken`] for a new one whose label is taken.
    pub fn upsert_seen(&self, seen: &IdentityRow) -> Result<bool, IdentityError> {
        if self.get(&seen.digest)?.is_some_and(|known| known.first_seen <= seen.first_seen) {
            return Ok(false);
        }
        self.0.write("keep an identity in", |connection| {
            let sql = "UPDATE identities SET first_seen = min(first_seen, ?2) WHERE digest = ?1";
            let changed = connection
                .execute(sql, params![seen.digest, seen.first_seen])
                .map_err(self.0.fault("keep an identity in"))?;
            if changed == 0 {
                self.put(connection, seen)?;
            }
            Ok(changed == 0)
        })
    }

    fn put(&self, connection: &Connection, new: &IdentityRow) -> Result<(), IdentityError> {
        self.free(new.label.as_deref(), &new.digest)?;
        let sql = format!("INSERT INTO identities ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
        connection
            .prepare_cached(&sql)
            .and_then(|mut statement| {
                statement.execute(params![
                    new.digest,
                    new.kind,
                    new.canonical,
                    new.raw,
                    new.label,
                    new.notes,
                    new.origin,
                    new.origin_detail,
                    new.first_seen
                ])
            })
            .map_err(self.0.fault("keep an identity in"))?;
        Ok(())
    }

    /// Refuses a label that another identity has.
    fn free(&self, label: Option<&str>, digest: &str) -> Result<(), IdentityError> {
        let Some(label) = label else { return Ok(()) };
        match self.by_label(label)? {
            Some(owner) if owner.digest != digest => {
                Err(IdentityError::LabelTaken { label: label.to_owned(), canonical: owner.canonical })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn one(&self, condition: &str, value: &str) -> Result<Option<IdentityRow>, StoreError> {
        self.0
            .connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM identities WHERE {condition}"))
            .and_then(|mut statement| statement.query_row([value], read).optional())
            .map_err(self.0.fault("read an identity from"))
    }

    /// The identity with this digest.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn get(&self, digest: &str) -> Result<Option<IdentityRow>, StoreError> {
        self.one("digest = ?1", digest)
    }

    /// The identity with this label.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn by_label(&self, label: &str) -> Result<Option<IdentityRow>, StoreError> {
        self.one("label = ?1", label)
    }

    /// The identities whose digest begins so, at most `limit`; none when the text is no library id.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn by_id(&self, id: &str, limit: u32) -> Result<Vec<IdentityRow>, StoreError> {
        if !is_library_id(id) {
            return Ok(Vec::new());
        }
        let id = id.to_ascii_lowercase();
        // A range rather than LIKE: a range uses the key. `g` follows the last hexadecimal digit.
        let sql = format!(
            "SELECT {COLUMNS} FROM identities WHERE digest >= ?1 AND digest < ?1 || 'g' ORDER BY digest LIMIT ?2"
        );
        self.0
            .connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_map(params![id, limit], read)?.collect())
            .map_err(self.0.fault("read identities from"))
    }

    /// Every identity, or those of one kind, oldest first. The callback may end it.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn each(
        &self,
        kind: Option<&str>,
        mut take: impl FnMut(IdentityRow) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM identities WHERE ?1 IS NULL OR kind = ?1 ORDER BY first_seen, digest"
        );
        let mut walk = || {
            let mut statement = self.0.connection.prepare_cached(&sql)?;
            for row in statement.query_map([kind], read)? {
                if take(row?).is_break() {
                    break;
                }
            }
            Ok(())
        };
        walk().map_err(self.0.fault("list the identities of"))
    }

    /// Every identity, or those of one kind, oldest first, in memory at once.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn list(&self, kind: Option<&str>) -> Result<Vec<IdentityRow>, StoreError> {
        let mut rows = Vec::new();
        self.each(kind, |row| {
            rows.push(row);
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    /// Identities with the text in their canonical form, label or notes, oldest first, at most `limit`. Case counts for
    /// letters outside of ASCII only.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn find(&self, text: &str, limit: u32) -> Result<Vec<IdentityRow>, StoreError> {
        let mut pattern = String::from("%");
        for letter in text.chars() {
            if matches!(letter, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        pattern.push('%');
        let sql = format!(
            "SELECT {COLUMNS} FROM identities
             WHERE canonical LIKE ?1 ESCAPE '\\' OR label LIKE ?1 ESCAPE '\\' OR notes LIKE ?1 ESCAPE '\\'
             ORDER BY first_seen, digest LIMIT ?2"
        );
        self.0
            .connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_map(params![pattern, limit], read)?.collect())
            .map_err(self.0.fault("search"))
    }

    /// Gives, changes or takes away the label.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] and [`IdentityError::LabelTaken`].
    pub fn set_label(&self, digest: &str, label: Option<&str>) -> Result<(), IdentityError> {
        self.0.write("label an identity in", |_| {
            self.free(label, digest)?;
            self.change(digest, "UPDATE identities SET label = ?2 WHERE digest = ?1", label)
        })
    }

    /// Replaces the notes.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`].
    pub fn set_notes(&self, digest: &str, notes: &str) -> Result<(), IdentityError> {
        self.0.write("write notes to", |_| {
            self.change(digest, "UPDATE identities SET notes = ?2 WHERE digest = ?1", Some(notes))
        })
    }

    fn change(&self, digest: &str, sql: &str, value: Option<&str>) -> Result<(), IdentityError> {
        let changed = self.0.connection.execute(sql, params![digest, value]);
        match changed.map_err(self.0.fault("change an identity in"))? {
            0 => Err(IdentityError::NotFound { digest: digest.to_owned() }),
            _ => Ok(()),
        }
    }

    /// Deletes the entry. Runs, observations and events that name the digest stay.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`].
    pub fn delete(&self, digest: &str) -> Result<(), IdentityError> {
        self.0.write("delete an identity from", |connection| {
            let deleted = connection.execute("DELETE FROM identities WHERE digest = ?1", [digest]);
            match deleted.map_err(self.0.fault("delete an identity from"))? {
                0 => Err(IdentityError::NotFound { digest: digest.to_owned() }),
                _ => Ok(()),
            }
        })
    }
}
