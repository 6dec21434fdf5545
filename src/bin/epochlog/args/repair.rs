//! The options of `verify` and `repair`.

use clap::Args;
use epochlog::OnDamage;

use crate::bytes::parse_size;

const VERIFY_EXIT_CODES: &str = "\
Exit codes:
  0  Nothing is damaged
  1  Something is damaged, or the store was refused
  2  The command line is wrong";

const REPAIR_EXIT_CODES: &str = "\
Exit codes:
  0  No damage was found, or all of it was repaired
  1  Damage is left; with --dry-run, damage was found; or the store or the repair was refused
  2  The command line is wrong";

#[derive(Debug, Args)]
#[command(after_help = VERIFY_EXIT_CODES)]
pub(crate) struct VerifyArgs {
    /// Read at most this much a second, such as `50MiB`, so that others keep the disk [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = parse_rate)]
    pub(crate) rate: Option<u64>,
}

fn parse_rate(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        0 => Err("nothing would ever be read; expected at least 1".into()),
        rate => Ok(rate),
    }
}

#[derive(Debug, Args)]
#[command(after_help = REPAIR_EXIT_CODES)]
pub(crate) struct RepairArgs {
    /// Only say what would be done and what would be lost
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Cut each partition at the first damage that could also stay
    #[arg(long, conflicts_with = "trim_damaged")]
    pub(crate) cut_damaged: bool,
    /// Start each partition behind the last damage that could also stay
    #[arg(long)]
    pub(crate) trim_damaged: bool,
}

impl RepairArgs {
    pub(crate) fn on_damage(&self) -> OnDamage {
        match (self.cut_damaged, self.trim_damaged) {
            (true, _) => OnDamage::Cut,
            (_, true) => OnDamage::Trim,
            _ => OnDamage::Keep,
        }
    }
}
