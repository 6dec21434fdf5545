//! From a request to the offset at which reading begins.
//!
//! Invariant: total. For every start, end and request this gives an offset within `start..=end` or a typed error; it
//! never panics, never clamps, never guesses. It takes an [`Admitted`] place or a start request, and nothing else: a
//! place that wasn't checked can't get here.

use std::ops::Range;

use super::admit::Admitted;
use crate::error::Result;
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

/// What a request comes to, before the range is looked at.
enum Wish {
    At(Offset),
    /// The wish reaches outside what an offset can say, or before the beginning.
    Outside(Offset),
    Time(Timestamp),
}

/// The offset to begin at. `out_of_range` makes the error, `at_time` finds the first record not older than a time.
pub(crate) fn resolve(
    request: Request,
    range: Range<Offset>,
    at_time: impl FnOnce(Timestamp) -> Result<Offset>,
    out_of_range: impl FnOnce(Offset) -> crate::error::Error,
) -> Result<Offset> {
    match wish(request, &range) {
        Wish::At(offset) if range.start <= offset && offset <= range.end => Ok(offset),
        Wish::At(offset) | Wish::Outside(offset) => Err(out_of_range(offset)),
        Wish::Time(time) => at_time(time),
    }
}

fn wish(request: Request, range: &Range<Offset>) -> Wish {
    match request {
        // `expired` when it lies before the start: the records are gone, and the caller chooses.
        Request::Place(admitted) => Wish::At(admitted.next()),
        Request::Start(Start::Earliest) => Wish::At(range.start),
        Request::Start(Start::Latest) => Wish::At(range.end),
        Request::Start(Start::At(offset)) => Wish::At(offset),
        Request::Start(Start::FromBeginning(n)) => match range.start.get().checked_add(n) {
            Some(offset) => Wish::At(Offset::new(offset)),
            None => Wish::Outside(Offset::MAX),
        },
        Request::Start(Start::FromEnd(n)) => match range.end.get().checked_sub(n) {
            Some(offset) => Wish::At(Offset::new(offset)),
            None => Wish::Outside(Offset::ZERO),
        },
        Request::Start(Start::Time(time)) => Wish::Time(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn at(request: Start, start: u64, end: u64) -> Result<u64, u64> {
        let range = Offset::new(start)..Offset::new(end);
        let mut refused = 0;
        let answer = resolve(
            Request::Start(request),
            range.clone(),
            |_| Ok(range.end),
            |offset| {
                refused = offset.get();
                Error::Closed
            },
        );
        answer.map(Offset::get).map_err(|_| refused)
    }

    #[test]
    fn every_request_at_every_boundary_is_within_the_range_or_refused() {
        use Start::{At, Earliest, FromBeginning, FromEnd, Latest};
        const MAX: u64 = u64::MAX;
        let table = [
            (Earliest, 0, 0, Ok(0)),
            (Earliest, 5, 9, Ok(5)),
            (Latest, 0, 0, Ok(0)),
            (Latest, 5, 9, Ok(9)),
            (FromBeginning(0), 5, 9, Ok(5)),
            (FromBeginning(4), 5, 9, Ok(9)),
            (FromBeginning(5), 5, 9, Err(10)),
            (FromBeginning(MAX), 5, 9, Err(MAX)),
            (FromBeginning(MAX), 0, 9, Err(MAX)),
            (FromBeginning(1), 0, 0, Err(1)),
            (FromEnd(0), 5, 9, Ok(9)),
            (FromEnd(4), 5, 9, Ok(5)),
            (FromEnd(5), 5, 9, Err(4)),
            (FromEnd(10), 5, 9, Err(0)),
            (FromEnd(MAX), 5, 9, Err(0)),
            (FromEnd(1), 0, 0, Err(0)),
            (At(Offset::new(4)), 5, 9, Err(4)),
            (At(Offset::new(5)), 5, 9, Ok(5)),
            (At(Offset::new(9)), 5, 9, Ok(9)),
            (At(Offset::new(10)), 5, 9, Err(10)),
            (At(Offset::MAX), 5, 9, Err(MAX)),
            (At(Offset::MAX), MAX, MAX, Ok(MAX)),
            (FromBeginning(1), MAX, MAX, Err(MAX)),
        ];
        for (request, start, end, expected) in table {
            assert_eq!(at(request, start, end), expected, "{request:?} in {start}..{end}");
        }
        assert_eq!(table.len(), 23);
    }
}
