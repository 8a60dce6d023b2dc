use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn schema(version: u32) -> Schema {
    Schema { version, version_min: version.saturating_sub(1), identity: "starknet SEQUENZA_TEST".to_owned() }
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().expect("a folder");
    let path = parent.path().join("deep/data");
    (parent, path)
}

fn refusal(path: &Path, schema: &Schema) -> OpenError {
    DataDir::open(path, schema).expect_err("refused")
}

#[test]
fn a_new_folder_is_private_and_opens_again() {
    let (_parent, path) = folder();
    let first = DataDir::open(&path, &schema(3)).expect("created");
    assert!(first.is_fresh());
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o700);
    drop(first);
    let second = DataDir::open(&path, &schema(3)).expect("opened");
    assert!(!second.is_fresh());
    assert_eq!(second.schema_version(), 3);
}

#[test]
fn a_second_user_of_the_folder_hears_who_holds_it() {
    let (_parent, path) = folder();
    let _held = DataDir::open(&path, &schema(1)).expect("created");
    let error = refusal(&path, &schema(1));
    assert_eq!(error.kind(), OpenErrorKind::Locked);
    let text = error.to_string();
    assert!(text.contains(&std::process::id().to_string()) && text.contains("--db-path"), "{text}");
}

#[test]
fn versions_and_identities_are_told_apart() {
    let (_parent, path) = folder();
    drop(DataDir::open(&path, &schema(5)).expect("created"));
    let other = Schema { identity: "starknet OTHER".to_owned(), ..schema(5) };
    type Expected = fn(&OpenError) -> bool;
    let rows: [(Schema, Expected); 3] = [
        (schema(4), |e| matches!(e, OpenError::NewerSchema { found: 5, newest: 4, .. })),
        (schema(7), |e| matches!(e, OpenError::OlderSchema { found: 5, oldest: 6, newest: 7, .. })),
        (other, |e| matches!(e, OpenError::WrongIdentity { .. })),
    ];
    for (schema, expected) in rows {
        let error = refusal(&path, &schema);
        assert!(expected(&error), "{error}");
        assert_eq!(error.kind(), OpenErrorKind::WrongSchema);
    }
    let mut older = DataDir::open(&path, &schema(6)).expect("6 still reads 5");
    assert_eq!(older.schema_version(), 5);
    older.upgraded(&schema(6)).expect("written");
    drop(older);
    assert!(matches!(refusal(&path, &schema(5)), OpenError::NewerSchema { found: 6, .. }));
}

#[test]
fn every_flipped_bit_of_the_schema_is_found() {
    let (_parent, path) = folder();
    drop(DataDir::open(&path, &schema(5)).expect("created"));
    let file = path.join(SCHEMA_FILE);
    let sound = fs::read(&file).expect("there");
    for bit in 0..sound.len() * 8 {
        let mut damaged = sound.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, &damaged).expect("written");
        let error = refusal(&path, &schema(5));
        assert!(matches!(error, OpenError::CorruptSchema { .. }), "bit {bit}: {error}");
        assert_eq!(fs::read(&file).expect("there"), damaged, "left as it was");
    }
    fs::write(&file, b"").expect("written");
    assert_eq!(refusal(&path, &schema(5)).kind(), OpenErrorKind::Corrupt);
}

#[test]
fn foreign_folders_and_files_are_refused_and_left_alone() {
    let (_parent, path) = folder();
    fs::create_dir_all(&path).expect("created");
    fs::write(path.join("holiday.jpg"), b"sun").expect("written");
    let error = refusal(&path, &schema(1));
    assert!(matches!(&error, OpenError::Foreign { found, .. } if found == "holiday.jpg"), "{error}");
    assert_eq!(list_folder(&path).expect("readable"), ["holiday.jpg"]);
    assert!(matches!(refusal(&path.join("holiday.jpg"), &schema(1)), OpenError::NotAFolder { .. }));
    assert_eq!(refusal(&path.join("holiday.jpg/data"), &schema(1)).kind(), OpenErrorKind::CannotCreate);
}

#[test]
fn a_start_that_was_cut_off_is_taken_up_again() {
    let (_parent, path) = folder();
    fs::create_dir_all(&path).expect("created");
    fs::write(path.join(LOCK_FILE), b"1\n").expect("written");
    fs::write(path.join(SCHEMA_DRAFT), b"sequ").expect("written");
    assert!(DataDir::open(&path, &schema(1)).expect("opened").is_fresh());
}

#[test]
fn an_unwritable_folder_says_so() {
    let (parent, path) = folder();
    fs::create_dir_all(&path).expect("created");
    fs::set_permissions(&path, Permissions::from_mode(0o500)).expect("set");
    match DataDir::open(&path, &schema(1)) {
        Err(error) => {
            assert_eq!(error.kind(), OpenErrorKind::CannotCreate, "{error}");
            assert!(error.to_string().contains("write access"), "{error}");
        }
        // The superuser may write everywhere.
        Ok(_) => eprintln!("skipped: this user may write in a folder of mode 0500"),
    }
    fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("set");
    drop(parent);
}

#[test]
fn answers_of_the_system_are_sorted_by_what_helps() {
    let rows = [
        (28, Doing::Writing, OpenErrorKind::DiskFull),
        (28, Doing::Creating, OpenErrorKind::DiskFull),
        (122, Doing::Writing, OpenErrorKind::DiskFull),
        (13, Doing::Writing, OpenErrorKind::CannotCreate),
        (30, Doing::Writing, OpenErrorKind::CannotCreate),
        (13, Doing::Creating, OpenErrorKind::CannotCreate),
        (5, Doing::Writing, OpenErrorKind::Io),
    ];
    for (errno, doing, kind) in rows {
        let error = sort_io(Path::new("/data"), io::Error::from_raw_os_error(errno), doing);
        assert_eq!(error.kind(), kind, "{error}");
    }
}
