//! Granted paths: what a cell may read and write of somebody's, and that nothing else can be meant by them.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::PathBuf,
};

use polyloom_sandbox::{Access, Limits, Opening, SpawnError, Spec, Stage};

use crate::{
    Case,
    support::{Lab, is_root, shell},
};

pub const CASES: &[Case] = &[
    ("granted_reading_reaches_files_only_their_owner_may_read", read),
    ("granted_writing_leaves_files_of_the_owner", write),
    ("granted_writing_makes_nothing_that_runs_as_its_owner", modes),
    ("granted_file_alone_can_be_changed", file),
    ("link_on_the_way_to_a_granted_path_is_refused", link),
    ("link_inside_of_a_granted_folder_leads_nowhere", escape),
];

/// A private folder with a private file, owned by an ordinary user where there is a choice.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let base = std::env::temp_dir().canonicalize().unwrap();
        let path = base.join(format!("polyloom-opening-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("file"), "secret of its owner\n").unwrap();
        for (path, mode) in [(path.join("file"), 0o600), (path.clone(), 0o700)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            if is_root() {
                std::os::unix::fs::chown(&path, Some(4242), Some(4243)).unwrap();
            }
        }
        Self(path)
    }

    fn opening(&self, target: &str, access: Access) -> Opening {
        Opening { source: self.0.clone(), target: target.into(), access }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn with(opening: Opening, code: &str) -> Spec {
    Spec { openings: vec![opening], ..shell(code) }
}

fn read(lab: &Lab) {
    let folder = Folder::new("read");
    for target in ["/cell/work/data", "/srv/granted/data"] {
        let code = format!(
            "cat {target}/file; echo x 2>/dev/null > {target}/file || echo refused; \
             touch {target}/new 2>/dev/null || echo refused"
        );
        let done = lab.run(&with(folder.opening(target, Access::Read), &code), Limits::default());
        assert_eq!(done.stdout, "secret of its owner\nrefused\nrefused\n", "{}", done.stderr);
    }
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
}

fn write(lab: &Lab) {
    let folder = Folder::new("write");
    for target in ["/cell/work/data", "/srv/granted/data"] {
        let code = format!(
            "echo changed > {target}/file && mkdir -p {target}/sub && echo new > {target}/sub/new && echo done; \
             mkfifo {target}/fifo 2>/dev/null || echo refused"
        );
        let done = lab.run(&with(folder.opening(target, Access::Write), &code), Limits::default());
        assert_eq!(done.stdout, "done\nrefused\n", "{}", done.stderr);
        let (file, new) = (folder.0.join("file"), folder.0.join("sub/new"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "changed\n");
        assert_eq!(fs::read_to_string(&new).unwrap(), "new\n");
        let (old, new) = (fs::metadata(file).unwrap(), fs::metadata(new).unwrap());
        assert_eq!((old.uid(), old.gid()), (new.uid(), new.gid()), "a new file is the owner's");
        if is_root() {
            assert_eq!((new.uid(), new.gid()), (4242, 4243));
        }
        fs::write(folder.0.join("file"), "secret of its owner\n").unwrap();
        fs::remove_dir_all(folder.0.join("sub")).unwrap();
    }
}

fn modes(lab: &Lab) {
    let folder = Folder::new("modes");
    let code = "
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for act in [
    lambda: os.chmod('/srv/modes/file', 0o4755),
    lambda: os.chmod(os.open('/srv/modes/file', os.O_RDWR), 0o2755),
    lambda: os.open('/srv/modes/new', os.O_CREAT | os.O_WRONLY, 0o4777),
    lambda: os.open('/srv/modes', os.O_TMPFILE | os.O_WRONLY, 0o4777),
]:
    try:
        act(); print('made')
    except PermissionError: pass
how = (ctypes.c_uint64 * 3)(os.O_CREAT | os.O_WRONLY, 0o4777, 0)
if libc.syscall(437, -100, b'/srv/modes/other', how, 24) >= 0: print('made')
os.umask(0)
os.close(os.open('/srv/modes/plain', os.O_CREAT | os.O_WRONLY, 0o777))
os.chmod('/srv/modes/plain', 0o755)
print('done')
";
    let spec = Spec {
        argv: vec!["python3".into(), "-IS".into(), "-c".into(), code.into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        openings: vec![folder.opening("/srv/modes", Access::Write)],
        ..Spec::default()
    };
    let done = lab.run(&spec, Limits::default());
    assert_eq!(done.stdout, "done\n", "{}", done.stderr);
    for entry in fs::read_dir(&folder.0).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o6000, 0);
    }
}

fn file(lab: &Lab) {
    let folder = Folder::new("file");
    let opening = Opening {
        source: folder.0.join("file"),
        target: "/srv/alone/file".into(),
        access: Access::Write,
    };
    let code = "ls /srv/alone; echo changed > /srv/alone/file; cat /srv/alone/file";
    let done = lab.run(&with(opening, code), Limits::default());
    assert_eq!(done.stdout, "file\nchanged\n", "{}", done.stderr);
}

fn link(lab: &Lab) {
    let folder = Folder::new("link");
    let way = folder.0.with_extension("way");
    symlink(&folder.0, &way).unwrap();
    for source in [way.clone(), way.join("file")] {
        let opening = Opening { source, target: "/srv/linked".into(), access: Access::Read };
        let refused =
            lab.spawner.spawn(&polyloom_sandbox::Policy::default(), &with(opening, "true")).err();
        fs::metadata(&folder.0).unwrap();
        match refused {
            Some(SpawnError::Setup { stage: Stage::Opening, source }) => {
                assert_eq!(source.raw_os_error(), Some(libc::ELOOP));
            }
            other => panic!("{other:?}"),
        }
    }
    fs::remove_file(way).unwrap();
}

fn escape(lab: &Lab) {
    let folder = Folder::new("escape");
    let outside = folder.0.with_extension("outside");
    fs::write(&outside, "canary\n").unwrap();
    symlink(&outside, folder.0.join("out")).unwrap();
    symlink("/etc/shadow", folder.0.join("shadow")).unwrap();
    let code =
        "cat /srv/data/out /srv/data/shadow /srv/data/../../etc/shadow; echo x > /srv/data/out";
    let done = lab.run(&with(folder.opening("/srv/data", Access::Write), code), Limits::default());
    assert_eq!(done.stdout, "", "{}", done.stderr);
    assert_eq!(fs::read_to_string(&outside).unwrap(), "canary\n");
    fs::remove_file(outside).unwrap();
}
