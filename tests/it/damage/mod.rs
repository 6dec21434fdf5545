//! Every bit and every file of a store, harmed: what was appended is read, or the damage is named.

mod guards;
