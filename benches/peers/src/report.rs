use crate::peer::Result;
use crate::results::Results;
pub struct About {
    pub machine: crate::machine::Machine,
    pub rounds: usize,
    pub quick: bool,
    pub seconds: u64,
    pub unsynced_bytes_max: Option<u64>,
}
pub fn write(_about: &About, results: &Results, _docs: bool) -> Result<()> {
    for (size, work, engine, m, _) in results.all() {
        println!("{size} {:10} {engine:18} {m:.1}", work.title());
    }
    Ok(())
}
