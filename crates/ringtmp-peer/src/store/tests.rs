use super::file::OVERHEAD_BYTES_MAX;
use super::*;
use crate::platform::Bytes;
use crate::run_file::Run;
use ringtmp_core::ids::{Epoch, LayerIndex, Version};
use ringtmp_core::kept::{Home, Kept, Past};
use ringtmp_core::replica::copy_bytes_max;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

fn code(byte: u8) -> RoomCode {
    RoomCode::from_random([byte; 10])
}

fn past(number: u32) -> Past {
    let incarnation = 7;
    Past {
        room: code(1),
        epoch: Epoch {
            number,
            incarnation,
        },
    }
}

fn run() -> Run {
    RunFile::default().check().expect("a sound run")
}

fn other_run() -> Run {
    let file = RunFile {
        seed: 99,
        ..RunFile::default()
    };
    file.check().expect("a sound run")
}

/// A layer of the default run that learns something, with a copy of the right length.
fn copy(layer: u16, fill: u8) -> (LayerIndex, Bytes) {
    let outline = run().descriptor().outline;
    let bytes = copy_bytes_max(&outline.layers[usize::from(layer)], &outline.schedule);
    assert!(bytes > 0, "layer {layer} learns nothing");
    (LayerIndex(layer), Arc::new(vec![fill; bytes as usize]))
}

/// The first two layers that learn something.
fn learning() -> [u16; 2] {
    let layers = run().descriptor().outline.layers;
    let mut learns = (0u16..)
        .zip(layers)
        .filter(|(_, layer)| layer.parameters > 0);
    let mut next = || learns.next().expect("two layers that learn").0;
    [next(), next()]
}

fn ring() -> Vec<Home> {
    vec![Home {
        name: "a phone".to_owned(),
        layers_end: 9,
        third: None,
    }]
}

async fn open(folder: &TempDir) -> Store {
    Store::open(folder.path()).await.expect("a folder")
}

async fn shelf(store: &Store) -> (Shelf, Vec<StoreError>) {
    let claimed = Shelf::claim(store.clone(), code(1), &run()).await;
    claimed.expect("a place")
}

/// A store with one version of two layers, whose holder is gone.
async fn with_a_version() -> (TempDir, Store) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(&folder).await;
    let (mut shelf, problems) = shelf(&store).await;
    assert_eq!(problems, []);
    let copies = learning().map(|layer| copy(layer, 3)).to_vec();
    let written = shelf.write(past(2), Version(5), &ring(), copies).await;
    written.expect("written");
    (folder, store)
}

/// The file of the first layer of the version that [`with_a_version`] writes.
fn first_file(folder: &TempDir) -> PathBuf {
    let version = format!("1-5-2-7-{}", code(1));
    let holder = folder.path().join(code(1).to_string()).join("1");
    holder.join(version).join(learning()[0].to_string())
}

#[tokio::test]
async fn what_was_kept_is_there_for_who_comes_back_and_reads_as_it_was_written() {
    let (_folder, store) = with_a_version().await;
    let (shelf, problems) = shelf(&store).await;
    assert_eq!(problems, []);
    let kept = shelf.kept();
    let expected = Kept {
        past: past(2),
        version: Version(5),
        layers: learning().map(LayerIndex).to_vec(),
        ring: ring(),
    };
    assert_eq!(kept, [expected]);
    let (layer, bytes) = copy(learning()[1], 3);
    let read = shelf.read(past(2), Version(5), layer).await;
    assert_eq!(read, Ok(bytes.to_vec()));
    let other = shelf.read(past(3), Version(5), layer).await;
    assert!(matches!(other, Err(StoreError::Damaged { .. })));
    let runs = store.runs().await.expect("they are listed");
    assert_eq!(runs.len(), 1);
    let known = &runs[0];
    assert_eq!(
        (known.id, known.step, known.steps),
        (code(1), 5, run().file.steps)
    );
    let file = store.run_file(code(1)).await.expect("the run file");
    assert_eq!(file, run().file);
}

#[tokio::test]
async fn a_layer_cut_short_or_altered_anywhere_is_named_and_removed_and_the_others_stay() {
    let length = {
        let (folder, _store) = with_a_version().await;
        fs::metadata(first_file(&folder)).expect("a file").len() as usize
    };
    let places = [0, 9, 30, length / 2, length - 33, length - 1];
    let cut: fn(&mut Vec<u8>, usize) = |bytes, place| bytes.truncate(place);
    let alter: fn(&mut Vec<u8>, usize) = |bytes, place| bytes[place] ^= 1;
    let lengthen: fn(&mut Vec<u8>, usize) = |bytes, place| bytes.extend(vec![0; place + 1]);
    for spoil in [cut, alter, lengthen] {
        for place in places {
            let (folder, store) = with_a_version().await;
            let path = first_file(&folder);
            let mut bytes = fs::read(&path).expect("a file");
            spoil(&mut bytes, place);
            fs::write(&path, bytes).expect("written");
            let (shelf, problems) = shelf(&store).await;
            let layer = usize::from(learning()[0]) + 1;
            let damaged = StoreError::Damaged { layer, version: 5 };
            assert_eq!(problems, [damaged], "at {place}");
            let left = [LayerIndex(learning()[1])];
            assert_eq!(shelf.kept()[0].layers, left, "at {place}");
            assert!(!path.exists());
        }
    }
}

#[tokio::test]
async fn layers_of_another_model_or_under_another_name_are_refused() {
    let (folder, store) = with_a_version().await;
    let claimed = Shelf::claim(store.clone(), code(1), &other_run()).await;
    let (shelf, problems) = claimed.expect("a place");
    assert_eq!(shelf.kept(), []);
    let is_other = |problem: &StoreError| matches!(problem, StoreError::OtherModel { .. });
    assert!(
        problems.len() == 2 && problems.iter().all(is_other),
        "{problems:?}"
    );
    drop((shelf, folder, store));
    // A layer in the place of another, and a version in that of another.
    let (folder, store) = with_a_version().await;
    let path = first_file(&folder);
    let [first, second] = learning();
    fs::copy(path.with_file_name(second.to_string()), &path).expect("copied");
    let holder = path.parent().and_then(|version| version.parent());
    let renamed = holder
        .expect("a folder")
        .join(format!("2-6-2-7-{}", code(1)));
    fs::create_dir(&renamed).expect("made");
    fs::copy(
        path.with_file_name(second.to_string()),
        renamed.join(second.to_string()),
    )
    .expect("copied");
    let (shelf, problems) = super::Shelf::claim(store.clone(), code(1), &run())
        .await
        .expect("a place");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems.iter().all(is_other), "{problems:?}");
    assert_eq!(shelf.kept().len(), 1);
    assert!(!shelf.kept()[0].layers.contains(&LayerIndex(first)));
}

#[tokio::test]
async fn two_peers_of_a_device_keep_apart_and_one_that_comes_alone_has_what_both_left() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(&folder).await;
    let (mut one, _) = shelf(&store).await;
    let (mut other, _) = shelf(&store).await;
    let [first, second] = learning();
    for (shelf, layer) in [(&mut one, first), (&mut other, second)] {
        let copies = vec![copy(layer, layer as u8)];
        let written = shelf.write(past(1), Version(4), &ring(), copies).await;
        written.expect("written");
        assert_eq!(shelf.kept()[0].layers, [LayerIndex(layer)]);
    }
    // While one lives, its part is its own.
    drop(other);
    let (third, _) = shelf(&store).await;
    assert_eq!(third.kept()[0].layers, [LayerIndex(second)]);
    drop((one, third));
    let (alone, _) = shelf(&store).await;
    assert_eq!(alone.kept().len(), 1, "one version, in two places");
    assert_eq!(alone.kept()[0].layers, [first, second].map(LayerIndex));
    for layer in [first, second] {
        let read = alone.read(past(1), Version(4), LayerIndex(layer)).await;
        assert_eq!(read, Ok(copy(layer, layer as u8).1.to_vec()));
    }
    alone.clear().await.expect("removed");
    assert_eq!(store.runs().await, Ok(vec![]));
}

#[tokio::test]
async fn when_a_run_is_over_each_peer_of_a_device_removes_its_own_and_the_last_what_is_left() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(&folder).await;
    let mut shelves = Vec::new();
    for _ in 0..3 {
        shelves.push(shelf(&store).await.0);
    }
    let [first, _] = learning();
    for shelf in &mut shelves {
        let copies = vec![copy(first, 1)];
        let written = shelf.write(past(1), Version(4), &ring(), copies).await;
        written.expect("written");
    }
    // One is closed before the end.
    drop(shelves.pop());
    let last = shelves.pop().expect("three");
    let one = shelves.pop().expect("three");
    one.clear()
        .await
        .expect("it is no trouble that others go on");
    assert_eq!(last.kept().len(), 1);
    let read = last.read(past(1), Version(4), LayerIndex(first)).await;
    assert!(read.is_ok(), "what another uses stays: {read:?}");
    last.clear().await.expect("removed");
    let left = fs::read_dir(folder.path()).expect("it is there").count();
    assert_eq!(left, 0, "files of a run that is over");
}

#[tokio::test]
async fn older_runs_make_room_and_where_none_is_left_it_is_full_and_nothing_half_written_stays() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let layer = learning()[1];
    let takes = copy(layer, 0).1.len() as u64 + OVERHEAD_BYTES_MAX;
    let bounds = Bounds {
        runs_max: 16,
        bytes_max: 2 * takes,
    };
    let store = Store::bounded(folder.path(), bounds).await;
    let store = store.expect("a folder");
    let claimed = Shelf::claim(store.clone(), code(9), &run()).await;
    let (mut old, _) = claimed.expect("a place");
    let copies = || vec![copy(layer, 1)];
    let written = old.write(past(1), Version(1), &ring(), copies()).await;
    written.expect("there is room");
    let (mut new, _) = shelf(&store).await;
    for version in [1, 2] {
        let version_kept = Version(version);
        let written = new.write(past(1), version_kept, &ring(), copies()).await;
        // A run that a peer is at work on is left alone.
        assert_eq!(written.is_err(), version == 2, "{written:?}");
    }
    drop(old);
    let written = new.write(past(1), Version(2), &ring(), copies()).await;
    written.expect("the older run made room");
    let runs = store.runs().await.expect("listed");
    assert_eq!(runs.len(), 1);
    let full = new.write(past(1), Version(3), &ring(), copies()).await;
    assert_eq!(full, Err(StoreError::Full));
    assert_eq!(new.kept().len(), 2);
    let forsaken = new.forsake(&[(past(1), Version(1))]).await;
    forsaken.expect("removed");
    let written = new.write(past(1), Version(3), &ring(), copies()).await;
    written.expect("there is room again");
    let versions: Vec<u32> = new.kept().iter().map(|kept| kept.version.0).collect();
    assert_eq!(versions, [2, 3]);
}

#[tokio::test]
async fn further_layers_of_a_version_lie_with_the_first_and_stay_apart_where_writing_them_fails() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(&folder).await;
    let (mut shelf_here, _) = shelf(&store).await;
    let [first, second] = learning();
    for layer in [first, second] {
        let copies = vec![copy(layer, 3)];
        let written = shelf_here.write(past(2), Version(5), &ring(), copies).await;
        written.expect("written");
    }
    let layers = |kept: Vec<Kept>| -> Vec<Vec<LayerIndex>> {
        kept.into_iter().map(|kept| kept.layers).collect()
    };
    let both = vec![[first, second].map(LayerIndex).to_vec()];
    assert_eq!(layers(shelf_here.kept()), both);
    drop(shelf_here);
    let (mut again, problems) = shelf(&store).await;
    assert_eq!((problems, layers(again.kept())), (Vec::new(), both.clone()));
    let read = again.read(past(2), Version(5), LayerIndex(second)).await;
    assert_eq!(read, Ok(copy(second, 3).1.to_vec()));
    let versions = [(past(2), Version(5))];
    again.forsake(&versions).await.expect("removed");
    assert_eq!(again.kept(), []);
    drop(again);
    // The second cannot be written: a folder is in its place.
    let written = with_a_version_of(&folder, &store, first).await;
    let (mut again, _) = shelf(&store).await;
    let in_the_way = written.join(second.to_string());
    std::fs::create_dir(&in_the_way).expect("a folder");
    std::fs::write(in_the_way.join("something"), "x").expect("a file");
    let copies = vec![copy(second, 3)];
    let failed = again.write(past(2), Version(6), &ring(), copies).await;
    assert!(failed.is_err(), "{failed:?}");
    let left = vec![vec![LayerIndex(first)]];
    assert_eq!(layers(again.kept()), left);
    drop(again);
    let (again, _) = shelf(&store).await;
    assert_eq!(layers(again.kept()), left);
}

/// Writes version 6 of this layer; where it lies.
async fn with_a_version_of(folder: &TempDir, store: &Store, layer: u16) -> PathBuf {
    let (mut shelf, _) = shelf(store).await;
    let copies = vec![copy(layer, 3)];
    let written = shelf.write(past(2), Version(6), &ring(), copies).await;
    written.expect("written");
    let places = std::fs::read_dir(folder.path().join(code(1).to_string()).join("1"));
    let mut places = places.expect("the place").filter_map(Result::ok);
    let version = places.find(|entry| entry.file_name().to_string_lossy().contains("-6-"));
    version.expect("the version").path()
}

#[tokio::test]
async fn of_many_runs_the_oldest_goes_and_whatever_else_lies_there_is_let_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("a letter"), "mine").expect("written");
    let bounds = Bounds {
        runs_max: 2,
        ..Bounds::default()
    };
    let store = Store::bounded(folder.path(), bounds).await;
    let store = store.expect("a folder");
    for id in 1..=3 {
        let claimed = Shelf::claim(store.clone(), code(id), &run()).await;
        let (mut shelf, _) = claimed.expect("a place");
        let copies = vec![copy(learning()[1], 1)];
        let written = shelf.write(past(1), Version(1), &ring(), copies).await;
        written.expect("written");
        // Times are in seconds.
        let about = folder.path().join(code(id).to_string()).join("1/about");
        let text = fs::read_to_string(&about).expect("written");
        let mut about_run: About = serde_json::from_str(&text).expect("it was written here");
        about_run.when = u64::from(id);
        let text = serde_json::to_string(&about_run).expect("plain data");
        fs::write(&about, text).expect("written");
    }
    let left: Vec<RoomCode> = store
        .runs()
        .await
        .expect("listed")
        .into_iter()
        .map(|run| run.id)
        .collect();
    assert_eq!(left, [code(3), code(2)]);
    assert!(folder.path().join("a letter").exists());
    store.forget(code(2)).await.expect("forgotten");
    assert_eq!(store.runs().await.expect("listed").len(), 1);
}

#[test]
fn a_full_disk_is_known_as_one() {
    let full = DiskError::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
    assert_eq!(StoreError::from(full), StoreError::Full);
    let other = DiskError::from(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
    assert!(matches!(
        StoreError::from(other),
        StoreError::Unavailable(_)
    ));
}
