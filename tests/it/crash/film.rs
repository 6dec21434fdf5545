//! Films a machine: the disk before each operation and after each call, and what must be there.
//!
//! Invariant: nothing that changes the disk happens between two shots without being seen; shots between which the oracle
//! learned nothing share it.

use std::sync::{Arc, Mutex, PoisonError};

use epochlog::testing::{Image, SimDisk};

use super::call::Call;
use super::machine::Machine;
use super::oracle::Oracle;

/// The disk at one moment, and what must be there.
pub struct Shot {
    pub call: usize,
    pub name: &'static str,
    pub path: String,
    pub image: Image,
    pub oracle: Arc<Oracle>,
    /// Which of the oracles this is, counted from the first.
    pub version: u64,
}

#[derive(Default)]
struct Album {
    call: usize,
    shots: Vec<Shot>,
}

/// Takes the shots. Clones fill the same album.
#[derive(Clone, Default)]
pub struct Camera(Arc<Mutex<Album>>);

/// They change nothing, so the disk before them is the disk before the next one that does.
const LOOKS: [&str; 7] = ["list", "open", "try_lock", "len", "read", "map_read", "map_write"];

impl Camera {
    fn album(&self) -> std::sync::MutexGuard<'_, Album> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a shot before each operation of the disk from now on.
    pub fn watch(&self, disk: &SimDisk, oracle: &Arc<Mutex<Oracle>>) {
        let (camera, oracle) = (self.clone(), oracle.clone());
        disk.on_operation(Box::new(move |operation| {
            if !LOOKS.contains(&operation.name) {
                let oracle = oracle.lock().unwrap_or_else(PoisonError::into_inner);
                let path = operation.path.display().to_string();
                camera.take(operation.name, path, operation.image(), &oracle);
            }
        }));
    }

    fn take(&self, name: &'static str, path: String, image: Image, oracle: &Oracle) {
        let mut album = self.album();
        let (oracle, version) = match album.shots.last() {
            Some(last) if *last.oracle == *oracle => (last.oracle.clone(), last.version),
            Some(last) => (Arc::new(oracle.clone()), last.version + 1),
            None => (Arc::new(oracle.clone()), 0),
        };
        let call = album.call;
        album.shots.push(Shot { call, name, path, image, oracle, version });
    }
}

/// Makes the calls and films them.
pub fn film(mut machine: Machine, calls: &[Call]) -> Vec<Shot> {
    let camera = Camera::default();
    camera.watch(&machine.disk, &machine.oracle);
    machine.camera = Some(camera.clone());
    for (number, &call) in calls.iter().enumerate() {
        camera.album().call = number;
        machine.apply(call);
        camera.take("after", String::new(), machine.disk.image(), &machine.know());
    }
    machine.go_down();
    std::mem::take(&mut camera.album().shots)
}
