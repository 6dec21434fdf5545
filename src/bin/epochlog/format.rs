//! Templates of `consume --format`: text with names in double braces.
//!
//! Invariant: values and keys are written as the bytes they are; a name that isn't known is refused before anything is
//! read.

use std::io::{self, Write};

use epochlog::RecordView;

use crate::time;

const NAMES: [(&str, Part); 7] = [
    ("value", Part::Value),
    ("key", Part::Key),
    ("offset", Part::Offset),
    ("partition", Part::Partition),
    ("timestamp", Part::Timestamp),
    ("headers", Part::Headers),
    ("place", Part::Place),
];

/// What one record is printed as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value,
    Key,
    Offset,
    Partition,
    Timestamp,
    Headers,
    Place,
}

impl Default for Template {
    /// The value alone.
    fn default() -> Template {
        Template { parts: vec![Part::Value] }
    }
}

impl Template {
    /// Reads a template; `\t`, `\n`, `\0` and `\\` are what they are in most languages.
    pub(crate) fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("{{") {
            let (name, behind) = behind.split_once("}}").ok_or_else(|| format!("`{{{{{behind}` has no `}}}}`"))?;
            parts.push(Part::Text(unescape(before)));
            parts.push(named(name.trim())?);
            rest = behind;
        }
        parts.push(Part::Text(unescape(rest)));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Template { parts })
    }

    /// Prints a record and a line end.
    pub(crate) fn print(&self, record: &RecordView<'_>, out: &mut dyn Write) -> io::Result<()> {
        for part in &self.parts {
            part.print(record, out)?;
        }
        out.write_all(b"\n")
    }
}

fn named(name: &str) -> Result<Part, String> {
    let known = NAMES.iter().find(|(known, _)| *known == name);
    known.map(|(_, part)| part.clone()).ok_or_else(|| {
        let names: Vec<String> = NAMES.iter().map(|(name, _)| format!("{{{{{name}}}}}")).collect();
        format!("`{{{{{name}}}}}` is not known; there are {}", names.join(" "))
    })
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('t') => plain.push('\t'),
                Some('n') => plain.push('\n'),
                Some('0') => plain.push('\0'),
                Some('\\') | None => plain.push('\\'),
                Some(other) => plain.extend(['\\', other]),
            },
            (c, false) => plain.push(c),
        }
    }
    plain
}

impl Part {
    fn print(&self, record: &RecordView<'_>, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Part::Text(text) => out.write_all(text.as_bytes()),
            Part::Value => out.write_all(record.value()),
            Part::Key => out.write_all(record.key().unwrap_or_default()),
            Part::Offset => write!(out, "{}", record.offset()),
            Part::Partition => write!(out, "{}", record.partition()),
            Part::Timestamp => out.write_all(time::show(record.timestamp()).as_bytes()),
            Part::Headers => print_headers(record, out),
            Part::Place => write!(out, "{}", record.next()),
        }
    }
}

fn print_headers(record: &RecordView<'_>, out: &mut dyn Write) -> io::Result<()> {
    for (i, (name, value)) in record.headers().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(out, "{comma}{name}=")?;
        out.write_all(value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_names_and_text() {
        let template = Template::parse(r"{{offset}}\t{{ key }}={{value}}").expect("is a template");
        let text = |text: &str| Part::Text(text.into());
        assert_eq!(template.parts, [Part::Offset, text("\t"), Part::Key, text("="), Part::Value]);
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_that_there_are() {
        let refusal = Template::parse("{{ofset}}").expect_err("is refused");
        assert!(refusal.starts_with("`{{ofset}}` is not known; there are {{value}} {{key}}"), "{refusal}");
        assert_eq!(Template::parse("{{key").expect_err("is refused"), "`{{key` has no `}}`");
    }
}
