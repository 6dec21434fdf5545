//! The figures as a picture: bars on a logarithmic scale, in SVG, for light and dark pages.

use std::fmt::Write as _;

use crate::engines;
use crate::floor;
use crate::peer::{Class, Work};
use crate::results::Results;
use crate::table::figure;

const SHOWN: [Work; 6] = [Work::Append, Work::Batch, Work::Durable, Work::Threads16, Work::Scan, Work::Random];
const WIDTH: f64 = 860.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 110.0;
const LINE: f64 = 18.0;

const STYLE: &str = "text{font:12px sans-serif;fill:#24292f}.title{font-weight:bold;font-size:13px}.grid{stroke:#d0d7de}\
.floor{fill:#8c959f}.ours{fill:#1a7f37}.power{fill:#0969da}.process{fill:#9a6700}.memory{fill:#cf222e}.read{fill:#0969da}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#30363d}.floor{fill:#6e7681}.ours{fill:#3fb950}\
.power,.read{fill:#58a6ff}.process{fill:#d29922}.memory{fill:#f85149}}";

struct Bar {
    name: &'static str,
    nanos: f64,
    kind: &'static str,
}

/// The bars of one kind of work, the fastest first.
fn bars(results: &Results, size: usize, work: Work) -> Vec<Bar> {
    let floor = results.median(size, work, floor::NAME).map(|nanos| Bar { name: floor::NAME, nanos, kind: "floor" });
    let peers = engines::ALL.into_iter().filter_map(|peer| {
        let kind = match (peer.reach)(work).class() {
            _ if peer.ours => "ours",
            None => "read",
            Some(Class::Memory) => "memory",
            Some(Class::Process) => "process",
            Some(Class::Power) => "power",
        };
        Some(Bar { name: peer.name, nanos: results.median(size, work, peer.name)?, kind })
    });
    let mut bars: Vec<Bar> = floor.into_iter().chain(peers).collect();
    bars.sort_by(|one, other| one.nanos.total_cmp(&other.nanos));
    bars
}

/// The picture of one size of value.
pub fn svg(results: &Results, size: usize) -> String {
    let mut body = String::new();
    let mut y = 44.0;
    for work in SHOWN {
        let bars = bars(results, size, work);
        if !bars.is_empty() {
            y = group(&mut body, work, &bars, y);
        }
    }
    let height = y + 4.0;
    let legend = "green: epochlog, grey: the machine's floor; an acknowledgement survives blue: a power cut, \
                  brown: kill -9, red: nothing";
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"Nanoseconds a record with values of {size} bytes\"><style>{STYLE}</style>\n\
         <text class=\"title\" x=\"10\" y=\"18\">ns a record, values of {size} bytes, logarithmic: shorter is faster</text>\n\
         <text x=\"10\" y=\"34\">{legend}</text>\n{body}</svg>\n"
    )
}

/// Draws one kind of work; gives where the next begins.
fn group(body: &mut String, work: Work, bars: &[Bar], top: f64) -> f64 {
    let (least, most) = (bars[0].nanos.log10().floor(), bars[bars.len() - 1].nanos.log10());
    let width = |nanos: f64| 4.0 + (nanos.log10() - least) / (most - least).max(0.1) * (WIDTH - LEFT - RIGHT - 4.0);
    let _ = writeln!(body, "<text class=\"title\" x=\"10\" y=\"{}\">{}</text>", top + 18.0, work.title());
    let first = top + 26.0;
    let bottom = first + bars.len() as f64 * LINE;
    let mut power = least;
    while power <= most {
        let x = LEFT + width(10f64.powf(power));
        let _ = writeln!(body, "<path class=\"grid\" d=\"M{x:.1} {first:.1}V{bottom:.1}\"/>");
        power += 1.0;
    }
    for (i, bar) in bars.iter().enumerate() {
        let (y, width) = (first + i as f64 * LINE, width(bar.nanos));
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><rect class=\"{}\" x=\"{LEFT}\" y=\"{:.1}\" \
             width=\"{width:.1}\" height=\"12\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            y + 12.0,
            bar.name,
            bar.kind,
            y + 2.0,
            LEFT + width + 6.0,
            y + 12.0,
            figure(bar.nanos)
        );
    }
    bottom + 6.0
}
