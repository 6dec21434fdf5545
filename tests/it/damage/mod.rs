//! Every bit and every file of a store, harmed: what was appended is read, or the damage is named.
//!
//! `specimen` is the store, `region` says what each of its bytes is for, `outcome` opens and reads what is left, `words`
//! says that in one line, and the tables in `table` (bits) and `files` say which lines are right. `guards` has a small
//! test for each thing that the tables found, `versions` what a later version may have written.

mod files;
mod flips;
mod guards;
mod outcome;
mod region;
mod specimen;
mod table;
mod versions;
mod words;
