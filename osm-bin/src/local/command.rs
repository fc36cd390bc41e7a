//! Where the program of a container is on this machine.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// Finds a program as a shell would: a name with a `/` is a path from the
/// working directory, another is looked for in the folders of the search path.
///
/// # Errors
/// When there is none, or it can't be executed; the message says what to do.
pub fn find(program: &str, working_dir: &Path, search_path: &[PathBuf]) -> Result<PathBuf, String> {
    if program.is_empty() {
        return Err("the command is empty".to_owned());
    }
    if program.contains('/') {
        let path = working_dir.join(program);
        return check(&path).map(|()| path).map_err(|problem| format!("`{program}` {problem}"));
    }
    let mut problem = "is not on this machine".to_owned();
    for folder in search_path {
        let path = folder.join(program);
        match check(&path) {
            Ok(()) => return Ok(path),
            Err(found) if path.exists() => problem = format!("({}) {found}", path.display()),
            Err(_) => {}
        }
    }
    Err(format!("`{program}` {problem}; install it, or name its folder with `--path FOLDER`"))
}

fn check(path: &Path) -> Result<(), String> {
    let metadata = path.metadata().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "is not on this machine".to_owned(),
        _ => format!("can't be looked at: {error}"),
    })?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err("is not executable; `chmod +x` it".to_owned());
    }
    Ok(())
}

/// Whether a user who owns nothing, and is in no group, can execute a program:
/// it must be executable for others, and so must every folder above it, those of
/// links on the way included.
#[must_use]
pub fn is_for_everybody(program: &Path) -> bool {
    let may = |metadata: &Metadata| metadata.mode() & 0o001 != 0;
    let Ok(real) = program.canonicalize() else { return false };
    let folders_are_open = |path: &Path| {
        let mut folder = PathBuf::new();
        let parents = path.parent().map(Path::components).into_iter().flatten();
        parents.filter(|part| !matches!(part, Component::CurDir)).all(|part| {
            folder.push(part);
            folder.metadata().is_ok_and(|metadata| may(&metadata))
        })
    };
    let file = real.metadata();
    file.is_ok_and(|metadata| may(&metadata)) && folders_are_open(&real) && folders_are_open(program)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn program(path: &Path, mode: u32) {
        fs::write(path, "#!/bin/sh\n").expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permitted");
    }

    #[test]
    fn a_bare_name_is_looked_for_in_the_search_path_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (folder.path().join("a"), folder.path().join("b"));
        fs::create_dir(&first).and_then(|()| fs::create_dir(&second)).expect("folders");
        program(&first.join("x"), 0o644);
        program(&second.join("x"), 0o755);
        let path = [first.clone(), second.clone()];
        assert_eq!(find("x", Path::new("/"), &path), Ok(second.join("x")));
        let problem = find("x", Path::new("/"), &path[..1]).expect_err("not executable");
        assert!(problem.contains("chmod +x") && problem.contains("/a/x"), "{problem}");
        let problem = find("nowhere", Path::new("/"), &path).expect_err("not there");
        assert!(
            problem.contains("`nowhere` is not on this machine") && problem.contains("--path"),
            "{problem}"
        );
    }

    #[test]
    fn a_name_with_a_slash_is_a_path_from_the_working_directory() {
        let folder = tempfile::tempdir().expect("a folder");
        program(&folder.path().join("x"), 0o755);
        assert_eq!(find("./x", folder.path(), &[]), Ok(folder.path().join("./x")));
        assert!(find("./x", Path::new("/"), &[]).is_err());
        let absolute = folder.path().display().to_string();
        assert_eq!(find(&absolute, Path::new("/"), &[]), Err(format!("`{absolute}` is not a file")));
    }

    #[test]
    fn a_program_in_a_closed_home_is_not_for_everybody() {
        let folder = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir();
        let folder = folder.expect("a folder");
        let home = folder.path().join("home");
        fs::create_dir(&home).expect("a folder");
        program(&home.join("x"), 0o755);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(home.join("x"), &link).expect("a link");
        let close = |mode| fs::set_permissions(&home, fs::Permissions::from_mode(mode)).expect("permitted");
        close(0o755);
        assert!(is_for_everybody(&home.join("x")) && is_for_everybody(&link));
        close(0o700);
        assert!(!is_for_everybody(&home.join("x")) && !is_for_everybody(&link));
        close(0o755);
        program(&home.join("x"), 0o700);
        assert!(!is_for_everybody(&link));
    }
}
