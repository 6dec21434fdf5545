//! The style, as a test: what a reviewer would say again and again is said once here.

use std::path::{Path, PathBuf};

/// A source file: its path below the root, its text, and the text without its tests.
struct Source {
    path: String,
    text: String,
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_in(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    // A build below `benches/peers` or `fuzz` is nobody's source.
    let paths = entries.map(|entry| entry.expect("is there").path()).filter(|path| !path.ends_with("target"));
    let mut files: Vec<_> = paths.flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

fn sources(dir: &str) -> Vec<Source> {
    let files = files_in(&root().join(dir)).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let sources: Vec<_> = files.map(|path| Source::read(&path)).collect();
    assert!(!sources.is_empty(), "no source in `{dir}`");
    sources
}

impl Source {
    fn read(path: &Path) -> Source {
        let text = std::fs::read_to_string(path).expect("reads");
        let path = path.strip_prefix(root()).expect("lies there").to_string_lossy().into_owned();
        let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
        let code = text[..end].to_string();
        Source { path, text, code }
    }

    /// A file that holds nothing but tests: its parent declares it so.
    fn is_test(&self) -> bool {
        ["tests.rs", "table_test.rs", "golden.rs", "fixtures.rs"].iter().any(|name| self.path.ends_with(name))
    }

    /// The lines of code with their numbers, without comments.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.lines().enumerate().map(|(i, line)| (i + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn docs(&self) -> String {
        self.text.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n")
    }
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// Files that have nothing to hold.
const NO_INVARIANT: [(&str, &str); 3] = [
    ("src/lib.rs", "the crate's docs, for whoever uses it"),
    ("src/topic/describe.rs", "plain data"),
    ("src/store/report.rs", "plain data"),
];

#[test]
fn every_file_says_what_it_is_and_what_holds_in_it() {
    let mut found = Vec::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let docs = source.docs();
        let excused = NO_INVARIANT.iter().any(|(path, _)| *path == source.path) || source.path.starts_with("src/bin/");
        if docs.lines().count() < 1 {
            found.push(format!("{} doesn't open with `//!`", source.path));
        } else if !docs.contains("Invariant") && !excused {
            found.push(format!("{} names no invariant", source.path));
        }
    }
    none("the first screen of a file says what it is", &found);
    for (path, reason) in NO_INVARIANT {
        let source = Source::read(&root().join(path));
        assert!(!source.docs().contains("Invariant:"), "{path} has an invariant and needs no excuse ({reason})");
    }
}

#[test]
fn every_test_file_says_what_it_promises() {
    let bare =
        sources("tests").iter().filter(|source| source.docs().is_empty()).map(|s| s.path.clone()).collect::<Vec<_>>();
    none("these open without `//!`", &bare);
}

/// The floors of the house. A file imports from those below, from its own folder, and on the lowest floor from beside.
const FLOORS: [&[&str]; 7] = [
    &["error", "offset", "place", "name", "options", "record", "threads"],
    &["format", "io"],
    &["segment"],
    &["log"],
    &["topic"],
    &["consumer"],
    &["store", "inspect"],
];

/// File, what it uses, and why it may.
const STAIRS: [(&str, &str, &str); 3] = [
    ("src/options.rs", "io", "`StoreOptions` carries the seam that a test puts in; the words know only its name"),
    ("src/inspect/dump.rs", "store", "it is given an open store to look into; the store knows nothing of it"),
    ("src/inspect/verify.rs", "store", "the same"),
];

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The modules of this crate that a file speaks of.
fn uses(source: &Source) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for (number, line) in source.lines() {
        for rest in line.split("crate::").skip(1) {
            let names = rest.strip_prefix('{').map_or_else(|| vec![rest], |list| list.split(',').collect());
            let name = |text: &str| -> String {
                text.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
            };
            used.extend(names.into_iter().map(|text| (number, name(text))));
        }
    }
    used
}

#[test]
fn a_file_imports_only_from_floors_below() {
    let (mut found, mut climbed) = (Vec::new(), Vec::new());
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let inside = source.path.strip_prefix("src/").expect("lies there");
        let mine = inside.split(['/', '.']).next().expect("has a name");
        let Some(floor) = floor_of(mine) else { continue };
        for (number, used) in uses(source) {
            let Some(theirs) = floor_of(&used) else { continue };
            let allowed = theirs < floor || used == mine || (floor == 0 && theirs == 0);
            let stair = STAIRS.iter().position(|(path, module, _)| *path == source.path && *module == used);
            climbed.extend(stair);
            if !allowed && stair.is_none() {
                found.push(format!("{}:{number} uses `{used}`", source.path));
            }
        }
    }
    none("these look up, or beside", &found);
    assert!((0..STAIRS.len()).all(|stair| climbed.contains(&stair)), "an exception is no longer needed");
}

#[test]
fn every_module_has_a_floor() {
    let lib = Source::read(&root().join("src/lib.rs"));
    let modules: Vec<&str> = lib.code.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).collect();
    assert!(modules.len() >= 12, "{modules:?}");
    let homeless: Vec<String> =
        modules.iter().filter(|module| floor_of(module).is_none()).map(ToString::to_string).collect();
    none("these stand on no floor", &homeless);
}

#[test]
fn the_program_uses_only_what_is_public() {
    let mut found = Vec::new();
    for source in sources("src/bin") {
        for (number, line) in source.lines().filter(|(_, line)| line.contains("#[path") || line.contains("testing::")) {
            found.push(format!("{}:{number}: {line}", source.path));
        }
    }
    none("the program reaches behind the public face", &found);
}

/// Maps, four calls of functions for processors that have an instruction, and one of an instruction that takes an
/// address.
const UNSAFE: [(&str, usize); 3] = [("src/io/map.rs", 4), ("src/format/crc.rs", 4), ("src/format/fetch.rs", 1)];

#[test]
fn only_maps_checksums_and_a_look_ahead_are_unsafe() {
    let mut found = Vec::new();
    let is_safe = |source: &&Source| UNSAFE.iter().all(|(path, _)| source.path != *path);
    for source in sources("src").iter().filter(is_safe) {
        let unsafes = source.lines().filter(|(_, line)| line.contains("unsafe ") || line.contains("unsafe{"));
        found.extend(unsafes.map(|(number, line)| format!("{}:{number}: {line}", source.path)));
    }
    none("unsafe where it isn't needed", &found);
    for (path, allowed) in UNSAFE {
        let source = Source::read(&root().join(path));
        let unsafes = source.lines().filter(|(_, line)| line.contains("unsafe {")).count();
        let reasons = source.code.matches("// SAFETY").count();
        assert!(unsafes == allowed && reasons >= unsafes, "{path}: {unsafes} unsafe blocks, {reasons} reasons");
    }
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let says_nothing = ["utils", "util", "common", "helpers", "helper", "misc", "manager"];
    let mut found = Vec::new();
    for dir in ["src", "tests", "benches", "examples", "fuzz"] {
        let files = files_in(&root().join(dir)).into_iter().filter(|path| !path.to_string_lossy().contains("/target/"));
        for path in files {
            let path = path.strip_prefix(root()).expect("lies there").to_string_lossy().into_owned();
            if path.split(['/', '.']).any(|part| says_nothing.contains(&part)) {
                found.push(path);
            }
        }
    }
    none("whoever named these didn't know what they are", &found);
}

#[test]
fn nothing_is_unwrapped_without_a_word() {
    let mut found = Vec::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let unwraps = source.lines().filter(|(_, line)| line.contains(".unwrap()") || line.contains("dbg!("));
        found.extend(unwraps.map(|(number, line)| format!("{}:{number}: {line}", source.path)));
    }
    none("`expect` says why it holds", &found);
}

const FILE_LINES_MAX: usize = 450;
const FUNCTION_LINES_MAX: usize = 60;

#[test]
fn files_are_short_enough_to_be_read() {
    let long = |source: &Source| {
        let lines = source.lines().filter(|(_, line)| !line.trim().is_empty()).count();
        (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines of code", source.path))
    };
    none("a file holds one thing", &sources("src").iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn functions_are_short_enough_to_be_seen() {
    let mut found = Vec::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let lines: Vec<&str> = source.code.lines().collect();
        for (i, line) in lines.iter().enumerate().filter(|(_, line)| is_function(line)) {
            let indent = line.len() - line.trim_start().len();
            let closes = |line: &&str| line.trim_end() == format!("{}}}", " ".repeat(indent));
            let one_line = line.trim_end().ends_with(['}', ';']);
            let length = if one_line { 1 } else { 1 + lines[i..].iter().position(closes).unwrap_or(0) };
            if length > FUNCTION_LINES_MAX {
                found.push(format!("{}:{}: {length} lines", source.path, i + 1));
            }
        }
    }
    none("a function fits on a screen", &found);
}

fn is_function(line: &str) -> bool {
    let line = line.trim_start();
    !line.starts_with("//") && (line.starts_with("fn ") || (line.starts_with("pub") && line.contains(" fn ")))
}

#[test]
fn nothing_is_left_to_do_and_no_machine_is_named() {
    let (todo, fixme, homes) =
        (["TO", "DO"].concat(), ["FIX", "ME"].concat(), [["/ho", "me/"].concat(), ["/Us", "ers/"].concat()]);
    let work = ["/wo", "rk/"].concat();
    let mut found = Vec::new();
    let dirs = ["src", "tests", "benches", "examples"].into_iter().filter(|dir| root().join(dir).is_dir());
    for path in dirs.flat_map(|dir| files_in(&root().join(dir))) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for (i, line) in text.lines().enumerate() {
            let named = homes.iter().any(|home| line.contains(home.as_str())) || line.contains(&work);
            if line.contains(&todo) || line.contains(&fixme) || named {
                found.push(format!("{}:{}: {line}", path.display(), i + 1));
            }
        }
    }
    none("what is left belongs into an issue, and a path into an argument", &found);
}
