//! Names of topics and groups, checked once when they are made.
//!
//! Invariant: a [`TopicName`] is safe as a part of a file name on every system, so it can become a directory; a
//! [`GroupName`] obeys the same rule so that people learn one. Everything above takes these types or checks on entry.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

const ALLOWED: &str = "ASCII letters, digits, `-`, `_` and `.`, beginning with a letter, a digit or `_`";

/// Names that Windows keeps for devices, with or without an extension.
const RESERVED: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "lpt1", "lpt2",
    "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

macro_rules! name {
    ($name:ident, $what:literal, $doc:literal) => {
        #[doc = $doc]
        ///
        /// One to 200 ASCII letters, digits, `-`, `_` and `.`; it begins with a letter, a digit or `_`, doesn't end
        /// with `.`, and isn't a device name of Windows.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks the text and makes a name of it.
            ///
            /// # Errors
            ///
            /// [`Error::InvalidName`] says which rule the text breaks and where.
            pub fn new(text: &str) -> Result<$name> {
                match broken_rule(text) {
                    None => Ok($name(text.into())),
                    Some(reason) => Err(Error::InvalidName { what: $what, name: text.into(), reason }),
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<$name> {
                $name::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, text: &str) -> bool {
                *self.0 == *text
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, text: &&str) -> bool {
                *self == **text
            }
        }
    };
}

name!(TopicName, "topic", "The name of a topic; it becomes part of a directory's name.");
name!(GroupName, "group", "The name of a consumer group.");

fn broken_rule(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some(format!("it is empty; allowed are {ALLOWED}"));
    }
    if text.len() > NAME_BYTES_MAX {
        return Some(format!("{} bytes are more than the {NAME_BYTES_MAX} allowed", text.len()));
    }
    if let Some((at, bad)) = text.char_indices().find(|&(at, c)| !allowed_at(at, c)) {
        return Some(format!("`{}` at byte {at}; allowed are {ALLOWED}", bad.escape_debug()));
    }
    if text.ends_with('.') {
        return Some("it ends with `.`, which Windows drops from file names".into());
    }
    let stem = text.split('.').next().unwrap_or(text);
    if RESERVED.iter().any(|reserved| stem.eq_ignore_ascii_case(reserved)) {
        return Some(format!("`{stem}` is the name of a device on Windows"));
    }
    None
}

fn allowed_at(at: usize, c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || (at > 0 && (c == '-' || c == '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        TopicName::new(text).expect_err("is refused").to_string()
    }

    #[test]
    fn ordinary_names_pass() {
        for name in ["orders", "cloud-command", "a.b_c-9", "_internal", "0", &"x".repeat(200)] {
            assert_eq!(TopicName::new(name).expect("is a name"), name);
        }
    }

    #[test]
    fn a_name_is_equal_to_its_text_alone() {
        let (topic, group) = (TopicName::new("orders").expect("is one"), GroupName::new("orders").expect("is one"));
        assert!(topic == "orders" && topic == *"orders" && group == "orders");
        assert!(topic != "order" && topic != "Orders" && group != *"");
    }

    #[test]
    fn every_broken_rule_is_named() {
        let allowed = "allowed are ASCII letters, digits, `-`, `_` and `.`, beginning with a letter, a digit or `_`";
        assert_eq!(refusal(""), format!("topic name `` is invalid: it is empty; {allowed}"));
        assert_eq!(refusal("a/b"), format!("topic name `a/b` is invalid: `/` at byte 1; {allowed}"));
        assert_eq!(refusal(".."), format!("topic name `..` is invalid: `.` at byte 0; {allowed}"));
        assert_eq!(refusal("-x"), format!("topic name `-x` is invalid: `-` at byte 0; {allowed}"));
        assert_eq!(refusal("a\nb"), format!("topic name `a\\nb` is invalid: `\\n` at byte 1; {allowed}"));
        assert_eq!(refusal("é"), format!("topic name `é` is invalid: `é` at byte 0; {allowed}"));
        assert_eq!(refusal("a@1"), format!("topic name `a@1` is invalid: `@` at byte 1; {allowed}"));
        assert_eq!(refusal("a."), "topic name `a.` is invalid: it ends with `.`, which Windows drops from file names");
        assert_eq!(refusal("CON"), "topic name `CON` is invalid: `CON` is the name of a device on Windows");
        assert_eq!(refusal("nul.txt"), "topic name `nul.txt` is invalid: `nul` is the name of a device on Windows");
        assert!(refusal(&"x".repeat(201)).ends_with("is invalid: 201 bytes are more than the 200 allowed"));
        assert!(GroupName::new("").expect_err("is refused").to_string().starts_with("group name `` is invalid"));
    }
}
