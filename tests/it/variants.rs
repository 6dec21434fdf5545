//! Every way of saying no has a test: the variants, the refusals of repair and the rules of the format are listed from
//! the source, and each must be said, whole, where a test compares it.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("reads")
}

fn sources(dir: &Path, all: &mut Vec<String>) {
    for entry in fs::read_dir(dir).expect("lists") {
        let path = entry.expect("is there").path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("it/variants.rs") {
            all.push(fs::read_to_string(path).expect("reads"));
        }
    }
}

/// The text between two others.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let rest = text.split_once(from).unwrap_or_else(|| panic!("no `{from}`")).1;
    rest.split_once(to).unwrap_or_else(|| panic!("no `{to}` behind `{from}`")).0
}

/// The variants of an enum of `src/error.rs`, each with what stands in front of it.
fn variants(name: &str) -> Vec<(String, String)> {
    let source = read("src/error.rs");
    let (mut found, mut before) = (Vec::new(), String::new());
    for line in between(&source, &format!("pub enum {name} {{\n"), "\n}").lines() {
        match line.strip_prefix("    ").filter(|line| line.starts_with(char::is_uppercase)) {
            Some(line) => {
                let variant = line.chars().take_while(|c| c.is_alphanumeric()).collect();
                found.push((variant, std::mem::take(&mut before)));
            }
            None => before += line,
        }
    }
    found
}

/// The longest part of a message that is the same whatever it tells of.
fn fixed_part(message: &str) -> &str {
    let parts = message.split('{').map(|part| part.split_once('}').map_or(part, |(_, fixed)| fixed));
    parts.max_by_key(|part| part.len()).expect("has a part")
}

#[test]
fn every_error_is_produced_and_its_message_compared() {
    let tests = read("tests/it/errors.rs");
    let found = variants("Error");
    assert!(found.len() >= 24, "{found:?}");
    for (variant, attribute) in found.iter().filter(|(variant, _)| variant != "Corrupt") {
        let message = between(attribute.split("#[error(").nth(1).expect("has a message"), "\"", "\"");
        let fixed = fixed_part(message);
        assert!(fixed.len() > 6 && tests.contains(fixed), "`{variant}`: no test says `{fixed}`");
    }
}

#[test]
fn every_damage_is_produced_and_its_message_compared() {
    let tests = read("tests/it/errors.rs");
    let words = [
        ("Checksum", "corrupt batch in `/sim/{LOG}` at position 96, offsets 0..1: {sums}"),
        ("Foreign", "at position 0: belongs to {found}, expected {expected}"),
        ("Missing", "missing history in `"),
        ("Duplicate", "duplicate topic directory in `"),
        ("Short", "at position 0: 40 bytes, expected 96"),
        ("Malformed", "corrupt store header in `/sim/STORE` at position 96: {rule}"),
    ];
    let found: Vec<String> = variants("Damage").into_iter().map(|(variant, _)| variant).collect();
    assert_eq!(found, words.map(|(variant, _)| variant));
    for (variant, words) in words {
        assert!(tests.contains(words), "`{variant}`: no test says `{words}`");
    }
}

#[test]
fn every_refusal_of_repair_is_produced_and_compared() {
    let tests = ["repair", "repair_alone", "repair_copies"].map(|name| read(&format!("tests/it/{name}.rs"))).concat();
    let mut refusals = 0;
    for file in ["src/topic/repair.rs", "src/store/repair.rs"] {
        for rest in read(file).split(": &str =").skip(1) {
            let way_out = between(rest, "\"", "\"");
            assert!(tests.contains(way_out), "no test says `{way_out}`");
            refusals += 1;
        }
    }
    assert_eq!(refusals, 10);
}

#[test]
fn every_rule_of_the_format_is_broken_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut engine, mut tests) = (Vec::new(), Vec::new());
    sources(&root.join("src"), &mut engine);
    sources(&root.join("tests"), &mut tests);
    let (mut rules, mut said) = (Vec::new(), tests.concat());
    for source in &engine {
        let (code, tests) = source.split_once("#[cfg(test)]\nmod tests {").unwrap_or((source, ""));
        said += tests;
        let literals = code.split("DecodeError::Malformed(\"").skip(1);
        rules.extend(literals.map(|rest| rest.split('"').next().expect("ends").to_string()));
    }
    assert!(rules.len() > 30, "{rules:?}");
    rules.retain(|rule| !said.contains(rule.as_str()));
    assert!(rules.is_empty(), "no test says these: {rules:#?}");
}
