//! The trash is emptied beside deletes that are still at work.

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use epochlog::testing::{Access, Dir, Entry, Fault, File, Image, Lock, Loss, Seam, SimDisk};
use epochlog::{Mapping, StoreOptions};

use crate::support::*;

/// For so long one of the two waits for the other, which may be waiting for it.
const PATIENCE: Duration = Duration::from_millis(100);

/// A disk on which a look into the trash waits until a delete has renamed, and the sync of that until it was emptied.
#[derive(Debug)]
struct Meeting {
    disk: SimDisk,
    looks: Mutex<Sender<()>>,
    renamed: (Mutex<Sender<()>>, Mutex<Receiver<()>>),
    emptied: Mutex<Option<Receiver<()>>>,
    at_sync: Mutex<Option<Image>>,
}

impl Dir for Meeting {
    fn root(&self) -> &Path {
        self.disk.root()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        if path == Path::new("trash") && self.emptied.lock().expect("is whole").is_some() {
            let _not_for_the_first_time = self.looks.lock().expect("is whole").send(());
            let _or_nobody_comes = self.renamed.1.lock().expect("is whole").recv_timeout(PATIENCE);
        }
        self.disk.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let emptied = if path == Path::new("topics") { self.emptied.lock().expect("is whole").take() } else { None };
        if let Some(emptied) = emptied {
            self.renamed.0.lock().expect("is whole").send(()).expect("is kept");
            let _or_it_waits = emptied.recv_timeout(PATIENCE);
            *self.at_sync.lock().expect("is whole") = Some(self.disk.image());
        }
        self.disk.sync(path)
    }

    fn sync_name(&self) -> io::Result<()> {
        self.disk.sync_name()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        self.disk.open(path, access)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.disk.create(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        self.disk.try_lock(path)
    }

    fn reserves(&self) -> bool {
        self.disk.reserves()
    }
}

#[test]
fn a_topic_whose_delete_is_not_durable_yet_is_not_unlinked_by_maintain() {
    let disk = SimDisk::new(7);
    let (looks, renamed, emptied) = (channel(), channel(), channel());
    let meeting = Arc::new(Meeting {
        disk: disk.clone(),
        looks: Mutex::new(looks.0),
        renamed: (Mutex::new(renamed.0), Mutex::new(renamed.1)),
        emptied: Mutex::new(None),
        at_sync: Mutex::new(None),
    });
    let seam = Seam { dir: meeting.clone(), ..disk.seam() };
    let store = StoreOptions::new().mapping(Mapping::Never).seam(seam).create("/sim").expect("creates");
    fill(&store.create_topic("orders", small()).expect("creates").partition(0).expect("is there"), "v", 3);
    *meeting.emptied.lock().expect("is whole") = Some(emptied.1);
    std::thread::scope(|scope| {
        let maintaining = scope.spawn(|| {
            store.maintain().expect("maintains");
            let _or_it_went_on = emptied.0.send(());
        });
        looks.1.recv().expect("looks");
        store.delete_topic("orders").expect("deletes");
        maintaining.join().expect("ends");
    });
    let image = meeting.at_sync.lock().expect("is whole").take().expect("came by");
    let one = (0..image.pending().len()).flat_map(|i| [Loss::Only(i), Loss::AllBut(i)]);
    for loss in one.chain([Loss::All, Loss::None]) {
        let mut world = World::on(image.after(loss), Mapping::Never);
        world.open();
        if !world.store().topics().expect("lists").is_empty() {
            assert_eq!(all(&world.partition()), numbered("v", 0..3), "it comes back whole");
        }
    }
}

#[test]
fn what_cannot_be_unlinked_keeps_nothing_else_in_the_trash() {
    let world = world(Mapping::Auto);
    for name in ["a@1", "b@2"] {
        world.disk.write(format!("trash/{name}/topic"), "deleted");
    }
    world.disk.fail(Fault::of("remove_file").on("trash/a@1").forever());
    assert_eq!(refused(world.store().maintain()).to_string(), "cannot remove `/sim/trash/a@1`");
    let left: Vec<_> = world.disk.files().into_iter().filter(|path| path.starts_with("trash")).collect();
    assert_eq!(left, [Path::new("trash/a@1/topic")]);
}

#[test]
fn what_was_never_a_topic_stays_in_the_trash_and_keeps_nothing_from_being_maintained() {
    let world = world(Mapping::Auto);
    for path in ["trash/notes", "trash/a@1", "trash/kept/notes", "trash/b@2/topic"] {
        world.disk.write(path, "something");
    }
    world.store().maintain().expect("maintains");
    let left: Vec<_> = world.disk.files().into_iter().filter(|path| path.starts_with("trash")).collect();
    assert_eq!(left, ["trash/a@1", "trash/kept/notes", "trash/notes"].map(Path::new));
}
