//! The figures as Markdown: a table for each size of value, our ratios, and what stands behind each figure.

use std::fmt::Write as _;

use crate::engines;
use crate::floor;
use crate::peer::{Class, Peer, Reach, Work};
use crate::results::Results;

/// The marks behind figures of appends.
fn mark(class: Class) -> &'static str {
    match class {
        Class::Memory => " ᵐ",
        Class::Process => " ᵖ",
        Class::Power => "",
    }
}

/// Three digits that count, and a unit from a millisecond on.
pub fn figure(nanos: f64) -> String {
    match nanos {
        ..10.0 => format!("{nanos:.1}"),
        10.0..1e6 => thousands(nanos),
        _ => format!("{:.3} ms", nanos / 1e6),
    }
}

fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut told = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

pub fn tables(results: &Results) -> String {
    let mut text = String::new();
    for size in results.sizes() {
        let _ = write!(text, "## Values of {size} bytes\n\n| engine |");
        Work::ALL.iter().for_each(|work| text += &format!(" {} |", work.title()));
        text += &format!("\n|---|{}\n", "--:|".repeat(Work::ALL.len()));
        text += &line(results, size, floor::NAME, |_| None);
        for peer in engines::ALL {
            text += &line(results, size, peer.name, |work| (peer.reach)(work).class());
        }
        text.push('\n');
    }
    text
}

fn line(results: &Results, size: usize, name: &'static str, class: impl Fn(Work) -> Option<Class>) -> String {
    let cells = Work::ALL.map(|work| match results.median(size, work, name) {
        Some(nanos) => figure(nanos) + class(work).map_or("", mark),
        None => "-".to_owned(),
    });
    if cells.iter().all(|cell| cell == "-") { String::new() } else { format!("| {name} | {} |\n", cells.join(" | ")) }
}

/// The peer that is the fastest at a kind of work, among those whose records survive the same.
pub fn fastest(results: &Results, size: usize, work: Work, class: Option<Class>) -> Option<(Peer, f64)> {
    let rivals = engines::ALL.into_iter().filter(|peer| !peer.ours && (peer.reach)(work).class() == class);
    let timed = rivals.filter_map(|peer| Some((peer, results.median(size, work, peer.name)?)));
    timed.min_by(|one, other| one.1.total_cmp(&other.1))
}

/// How we compare with the floor, and with the fastest peer of the same class.
pub fn ratios(results: &Results) -> String {
    let mut text =
        "| values | work | engine | survives | ns | x the floor | fastest peer with the same guarantee | times as fast |\n\
                    |--:|---|---|---|--:|--:|---|--:|\n"
            .to_owned();
    for size in results.sizes() {
        for work in Work::ALL {
            for ours in engines::ALL.into_iter().filter(|peer| peer.ours) {
                text += &ratio(results, size, work, &ours).unwrap_or_default();
            }
        }
    }
    text
}

fn ratio(results: &Results, size: usize, work: Work, ours: &Peer) -> Option<String> {
    let nanos = results.median(size, work, ours.name)?;
    let class = (ours.reach)(work).class();
    let floor = results.median(size, work, floor::NAME).map_or("-".to_owned(), |floor| format!("{:.2}", nanos / floor));
    let survives = match class {
        Some(Class::Memory) => "nothing",
        Some(Class::Process) => "kill -9",
        Some(Class::Power) => "a power cut",
        None => "(a read)",
    };
    let (peer, times) = match fastest(results, size, work, class) {
        Some((peer, theirs)) => (format!("{}, {}", peer.name, figure(theirs)), format!("{:.1}", theirs / nanos)),
        None => ("-".to_owned(), "-".to_owned()),
    };
    let (work, engine, nanos) = (work.title(), ours.name, figure(nanos));
    Some(format!("| {size} | {work} | {engine} | {survives} | {nanos} | {floor} | {peer} | {times} |\n"))
}

/// What each engine does for each kind of work, and what an acknowledgement survives.
pub fn reasons(results: &Results) -> String {
    let mut text = "| engine | work | survives | why |\n|---|---|---|---|\n".to_owned();
    for work in Work::ALL {
        let _ = writeln!(text, "| floor | {} | - | {} |", work.title(), floor::reach(work));
    }
    let measured = |peer: &Peer| results.all().any(|(_, _, name, _, _)| name == peer.name);
    for peer in engines::ALL.into_iter().filter(measured) {
        for work in Work::ALL {
            let reach = (peer.reach)(work);
            let survives = match reach {
                Reach::Survives(Class::Memory, _) => "nothing",
                Reach::Survives(Class::Process, _) => "kill -9",
                Reach::Survives(Class::Power, _) => "a power cut",
                Reach::Reads(_) => "(a read)",
                Reach::No(_) => "not measured",
            };
            let _ = writeln!(text, "| {} | {} | {survives} | {} |", peer.name, work.title(), reach.why());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_what_counts() {
        let figures = [7.04, 43.6, 1234.5, 207_500.0, 13_400_000.0].map(figure);
        assert_eq!(figures, ["7.0", "44", "1,234", "207,500", "13.400 ms"]);
    }
}
