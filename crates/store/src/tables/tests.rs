use super::*;

const NAMES: [&str; 3] = ["numbers", "names", "empty"];

fn open(path: &Path) -> Tables {
    Tables::open(path, &NAMES, TablesOptions::default()).expect("opens")
}

fn at(block: u64) -> Standing {
    Standing { block, position: Position::from_u64(block * 100) }
}

fn keys(entries: impl Iterator<Item = Result<(Slice, Slice), TablesError>>) -> Vec<Vec<u8>> {
    entries.map(|entry| entry.expect("readable").0.to_vec()).collect()
}

#[test]
fn a_batch_shows_in_all_tables_with_its_standing_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let tables = open(folder.path());
    let (numbers, names) = (tables.table("numbers").expect("named"), tables.table("names").expect("named"));
    assert_eq!(tables.standing().expect("readable"), None);
    let before = tables.snapshot();
    let mut batch = tables.batch();
    batch.put(&numbers, *b"one", *b"1");
    batch.put(&names, *b"1", *b"one");
    assert_eq!(batch.len(), 2);
    batch.commit(at(1)).expect("written");
    let mut batch = tables.batch();
    batch.delete(&numbers, *b"one");
    drop(batch);

    let now = tables.snapshot();
    assert_eq!(now.get(&numbers, "one").expect("readable").as_deref(), Some(&b"1"[..]));
    assert!(now.contains(&names, "1").expect("readable"));
    assert_eq!(now.standing().expect("readable"), Some(at(1)));
    assert_eq!(before.get(&numbers, "one").expect("readable"), None);
    assert_eq!(before.standing().expect("readable"), None);

    let mut batch = tables.batch();
    batch.put(&names, *b"2", *b"two");
    batch.commit_beside().expect("written");
    assert_eq!(tables.standing().expect("readable"), Some(at(1)));
    assert!(matches!(tables.table("other"), Err(TablesError::UnknownTable(name)) if name == "other"));
}

#[test]
fn scans_are_in_order_of_keys_both_ways() {
    let folder = tempfile::tempdir().expect("a folder");
    let tables = open(folder.path());
    let table = tables.table("numbers").expect("named");
    let mut batch = tables.batch();
    for key in [&[1u8, 2][..], &[1], &[2, 0], &[1, 0], &[3]] {
        batch.put(&table, key, *b"");
    }
    batch.commit(at(1)).expect("written");
    let view = tables.snapshot();
    let [a, b, c]: [&[u8]; 3] = [&[1], &[1, 0], &[1, 2]];
    assert_eq!(keys(view.prefix(&table, [1])), [a, b, c]);
    assert_eq!(keys(view.prefix(&table, [1]).rev()), [c, b, a]);
    assert_eq!(keys(view.range(&table, [1u8, 0]..[2u8, 1])), [b, c, &[2, 0]]);
    assert_eq!(keys(view.range(&table, ..=[1u8, 0]).rev()), [b, a]);
    assert_eq!(keys(view.range::<&[u8]>(&table, ..)).len(), 5);
    assert!(keys(view.range::<&[u8]>(&tables.table("empty").expect("named"), ..)).is_empty());
}

#[test]
fn what_was_persisted_is_there_after_opening_again() {
    let folder = tempfile::tempdir().expect("a folder");
    for block in 1..=5 {
        let tables = open(folder.path());
        assert_eq!(tables.standing().expect("readable").map_or(0, |s| s.block), block - 1);
        let table = tables.table("numbers").expect("named");
        let mut batch = tables.batch();
        for key in 0..1000u32 {
            batch.put(&table, key.to_be_bytes(), block.to_be_bytes());
        }
        batch.commit(at(block)).expect("written");
        tables.persist().expect("synced");
        assert!(tables.disk_bytes().expect("readable") > 0);
    }
    let tables = open(folder.path());
    let table = tables.table("numbers").expect("named");
    let view = tables.snapshot();
    assert!(view.range::<&[u8]>(&table, ..).all(|entry| entry.expect("readable").1[..] == 5u64.to_be_bytes()));
}

#[test]
fn a_damaged_folder_is_rebuilt_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tables");
    let tables = open(&path);
    let mut batch = tables.batch();
    batch.put(&tables.table("numbers").expect("named"), *b"key", *b"value");
    batch.commit(at(9)).expect("written");
    tables.persist().expect("synced");
    drop(tables);
    for entry in std::fs::read_dir(&path).expect("readable").map(|entry| entry.expect("readable").path()) {
        if entry.is_file() && entry.file_name().is_some_and(|name| name != "lock") {
            std::fs::write(&entry, b"rust").expect("written");
        }
    }
    let error = Tables::open(&path, &NAMES, TablesOptions::default()).expect_err("refused");
    assert!(error.is_damage(), "{error}");
    assert!(error.to_string().contains("delete that folder"), "{error}");
    let tables = Tables::rebuild(&path, &NAMES, TablesOptions::default()).expect("rebuilt");
    assert_eq!(tables.standing().expect("readable"), None);
}
