//! A short piece of work that is always the same, system call by system call: what is killed, or refused, at each of them.

use crate::look::{look, open, tell};
use crate::part::Stage;
use crate::report::{Line, Refusal};
use crate::worker::Worker;

/// Opens and tells what is there, and ends without closing.
pub fn recover(stage: &Stage) {
    match open(&stage.path, stage.mapping) {
        Err(error) => stage.reporter.tell(&Line::Unopened(Refusal::of(&error))),
        Ok(store) => {
            stage.reporter.tell(&Line::Ready);
            match look(&store) {
                Ok(seen) => tell(&seen, &stage.reporter),
                Err(story) => {
                    let (variant, operation) = ("Story".into(), "look".into());
                    let refusal = Refusal { variant, operation, errno: 0, path: story };
                    stage.reporter.tell(&Line::Denied("-".into(), refusal));
                }
            }
            std::process::exit(0);
        }
    }
}

/// Two sessions, of which the first is closed and the second ends as if it had been killed. What is refused is told, and
/// the next call is made.
pub fn script(stage: &Stage) {
    let (first, out) = (stage.number(0), &stage.reporter);
    for (i, session) in [first_session, second_session].into_iter().enumerate() {
        let store = match open(&stage.path, stage.mapping) {
            Ok(store) => store,
            Err(error) => return out.tell(&Line::Unopened(Refusal::of(&error))),
        };
        out.tell(&Line::Ready);
        let next = first + 1000 * i as u64;
        let mut a = Worker { store: &store, name: "a", out, next };
        let mut b = Worker { store: &store, name: "b", out, next: next + 500 };
        session(&mut a, &mut b);
        if i == 1 {
            std::process::exit(0);
        }
        out.tell(&Line::Try("-".into(), crate::report::Call::Close));
        match store.close() {
            Ok(()) => out.tell(&Line::Done("-".into(), None)),
            Err(error) => out.tell(&Line::Refused("-".into(), Refusal::of(&error))),
        }
    }
}

fn first_session(a: &mut Worker<'_>, b: &mut Worker<'_>) {
    a.create();
    a.append(0, 1, 100, true);
    a.append(0, 1, 100, false);
    a.append(1, 5, 60, true);
    for _ in 0..6 {
        a.append(0, 1, 900, false);
    }
    a.append(0, 1, 100, true);
    a.commit(0, 300);
    a.trim(0, 6);
    a.append(0, 3, 700, false);
    a.truncate(0, 2);
    a.append(0, 1, 100, true);
    a.hand(0, 1);
    a.maintain();
    b.create();
    b.append(0, 2, 50, false);
    b.commit(0, 1);
    b.append(0, 1, 50, false);
    b.sync(0);
}

fn second_session(a: &mut Worker<'_>, b: &mut Worker<'_>) {
    b.append(0, 1, 50, false);
    b.append(0, 1, 50, true);
    b.truncate(0, 2);
    b.append(0, 1, 50, false);
    b.commit(0, 1000);
    a.hand(0, 0);
    a.append(1, 2, 60, true);
    a.delete();
    a.create();
    a.append(0, 1, 100, true);
    a.commit(0, 300);
    a.append(0, 1, 100, false);
}
