//! From a request to the offset at which reading begins.
//!
//! Invariant: total. For every start, end and request this gives an offset within `start..=end` or a typed error; it
//! never panics, never clamps, never guesses. It takes an [`Admitted`] place or a start request, and nothing else: a
//! place that wasn't checked can't get here.

use std::ops::Range;

use super::Log;
use super::admit::Admitted;
use crate::error::{Error, Result};
use crate::offset::{Offset, Timestamp};
use crate::options::Start;

/// What may be resolved.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    /// A place that passed the epoch check.
    Place(Admitted),
    /// An explicit wish.
    Start(Start),
}

/// Why a request leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outside {
    /// This offset isn't there.
    Offset(Offset),
    /// So many records, counted from one end, are more than there are: the offset that they would lead to may not even
    /// be a number.
    Count(u64),
}

impl Outside {
    pub(super) fn error(self, log: &Log) -> Error {
        match self {
            Outside::Offset(offset) => log.out_of_range(offset),
            Outside::Count(records) => Error::TooFewRecords {
                topic: log.owner.topic.clone(),
                partition: log.home.partition,
                records,
                start: log.start(),
                end: log.end(),
            },
        }
    }
}

/// What a request comes to, before the range is looked at.
enum Wish {
    At(Offset),
    TooMany(u64),
    Time(Timestamp),
}

/// The offset to begin at. `outside` makes the error, `at_time` finds the first record not older than a time.
pub(crate) fn resolve(
    request: Request,
    range: Range<Offset>,
    at_time: impl FnOnce(Timestamp) -> Result<Offset>,
    outside: impl FnOnce(Outside) -> Error,
) -> Result<Offset> {
    match wish(request, &range) {
        Wish::At(offset) if range.start <= offset && offset <= range.end => Ok(offset),
        Wish::At(offset) => Err(outside(Outside::Offset(offset))),
        Wish::TooMany(records) => Err(outside(Outside::Count(records))),
        Wish::Time(time) => at_time(time),
    }
}

fn wish(request: Request, range: &Range<Offset>) -> Wish {
    let there_are = range.end.since(range.start);
    match request {
        // `expired` when it lies before the start: the records are gone, and the caller chooses.
        Request::Place(admitted) => Wish::At(admitted.next()),
        Request::Start(Start::Earliest) => Wish::At(range.start),
        Request::Start(Start::Latest) => Wish::At(range.end),
        Request::Start(Start::At(offset)) => Wish::At(offset),
        Request::Start(Start::FromBeginning(n) | Start::FromEnd(n)) if n > there_are => Wish::TooMany(n),
        Request::Start(Start::FromBeginning(n)) => Wish::At(range.start.plus(n)),
        Request::Start(Start::FromEnd(n)) => Wish::At(range.end.minus(n)),
        Request::Start(Start::Time(time)) => Wish::Time(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(request: Start, start: u64, end: u64) -> Result<u64, Outside> {
        let range = Offset::new(start)..Offset::new(end);
        let mut refused = None;
        let answer = resolve(
            Request::Start(request),
            range.clone(),
            |_| Ok(range.end),
            |outside| {
                refused = Some(outside);
                Error::Closed
            },
        );
        answer.map(Offset::get).map_err(|_| refused.expect("was told"))
    }

    #[test]
    fn every_request_at_every_boundary_is_within_the_range_or_refused() {
        use Start::{At, Earliest, FromBeginning, FromEnd, Latest};
        const MAX: u64 = u64::MAX;
        let no_offset = |offset| Err(Outside::Offset(Offset::new(offset)));
        let too_many = |records| Err(Outside::Count(records));
        let table = [
            (Earliest, 0, 0, Ok(0)),
            (Earliest, 5, 9, Ok(5)),
            (Latest, 0, 0, Ok(0)),
            (Latest, 5, 9, Ok(9)),
            (FromBeginning(0), 5, 9, Ok(5)),
            (FromBeginning(4), 5, 9, Ok(9)),
            (FromBeginning(5), 5, 9, too_many(5)),
            (FromBeginning(MAX), 5, 9, too_many(MAX)),
            (FromBeginning(MAX), 0, 9, too_many(MAX)),
            (FromBeginning(1), 0, 0, too_many(1)),
            (FromEnd(0), 5, 9, Ok(9)),
            (FromEnd(4), 5, 9, Ok(5)),
            (FromEnd(5), 5, 9, too_many(5)),
            (FromEnd(10), 5, 9, too_many(10)),
            (FromEnd(MAX), 5, 9, too_many(MAX)),
            (FromEnd(1), 0, 0, too_many(1)),
            (At(Offset::new(4)), 5, 9, no_offset(4)),
            (At(Offset::new(5)), 5, 9, Ok(5)),
            (At(Offset::new(9)), 5, 9, Ok(9)),
            (At(Offset::new(10)), 5, 9, no_offset(10)),
            (At(Offset::MAX), 5, 9, no_offset(MAX)),
            (At(Offset::MAX), MAX, MAX, Ok(MAX)),
            (FromBeginning(1), MAX, MAX, too_many(1)),
        ];
        for (request, start, end, expected) in table {
            assert_eq!(at(request, start, end), expected, "{request:?} in {start}..{end}");
        }
        assert_eq!(table.len(), 23);
    }
}
