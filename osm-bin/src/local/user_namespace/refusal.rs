//! Why a machine refuses namespaces to an ordinary user, and the setting to change.

use std::fs;
use std::path::Path;

/// A setting of the kernel that can refuse.
struct Setting {
    name: &'static str,
    /// The value with which it does.
    refuses: u64,
    /// A value with which it does not.
    allows: u64,
}

const fn limit(name: &'static str) -> Setting {
    Setting { name, refuses: 0, allows: 10_000 }
}

const SETTINGS: [Setting; 8] = [
    limit("user.max_user_namespaces"),
    limit("user.max_net_namespaces"),
    limit("user.max_mnt_namespaces"),
    limit("user.max_pid_namespaces"),
    limit("user.max_ipc_namespaces"),
    limit("user.max_uts_namespaces"),
    // Debian's.
    Setting { name: "kernel.unprivileged_userns_clone", refuses: 0, allows: 1 },
    // Ubuntu's.
    Setting { name: "kernel.apparmor_restrict_unprivileged_userns", refuses: 1, allows: 0 },
];

/// What a kernel says about itself and about this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Settings with their values, as far as it has them.
    pub settings: Vec<(&'static str, u64)>,
    /// Whether it knows user namespaces.
    pub has_user_namespaces: bool,
    /// Whether this process may become nobody else, not even through `newuidmap`.
    pub no_new_privileges: bool,
}

impl Kernel {
    /// This machine's.
    #[must_use]
    pub fn this() -> Self {
        let value = |name: &'static str| {
            let text = fs::read_to_string(Path::new("/proc/sys").join(name.replace('.', "/"))).ok()?;
            Some((name, text.trim().parse().ok()?))
        };
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mut words =
            status.lines().map(str::split_whitespace).map(|mut words| (words.next(), words.next()));
        Self {
            settings: SETTINGS.iter().filter_map(|setting| value(setting.name)).collect(),
            has_user_namespaces: Path::new("/proc/self/ns/user").exists(),
            no_new_privileges: words.any(|words| words == (Some("NoNewPrivs:"), Some("1"))),
        }
    }

    fn refusing(&self) -> impl Iterator<Item = &'static Setting> {
        SETTINGS.iter().filter(|setting| self.settings.contains(&(setting.name, setting.refuses)))
    }
}

/// What to tell a user who was refused, and in which words they were.
#[must_use]
pub fn text(kernel: &Kernel, said: &str) -> String {
    const REFUSED: &str = "this machine does not let an ordinary user make namespaces";
    const OR: &str = "or run `osm local` as root";
    let refusing: Vec<_> = kernel.refusing().collect();
    if !kernel.has_user_namespaces {
        return format!("{REFUSED}: its kernel has no user namespaces; {}", &OR[3..]);
    }
    if !refusing.is_empty() {
        let list = |word: fn(&Setting) -> String, between| {
            refusing.iter().map(|setting| word(setting)).collect::<Vec<_>>().join(between)
        };
        let is = list(|setting| format!("{} is {}", setting.name, setting.refuses), ", ");
        let to = list(|setting| format!("{}={}", setting.name, setting.allows), " ");
        return format!(
            "{REFUSED}: {is}. Change that with `sudo sysctl -w {to}` (until the next start of the machine; a file \
             in /etc/sysctl.d makes it last), {OR}"
        );
    }
    if kernel.no_new_privileges {
        return format!(
            "{REFUSED} from where privileges are locked (no_new_privs, as sandboxes and some services set it): \
             start it from an ordinary login, {OR}"
        );
    }
    format!(
        "{REFUSED}: {said}. A container, a chroot or a security module may forbid it: start it outside of those, {OR}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(settings: &[(&'static str, u64)]) -> Kernel {
        Kernel { settings: settings.to_vec(), has_user_namespaces: true, no_new_privileges: false }
    }

    #[test]
    fn each_refusal_names_the_setting_and_the_command_that_changes_it() {
        let fine = [("user.max_user_namespaces", 63_000), ("kernel.unprivileged_userns_clone", 1)];
        for (name, refuses, change) in [
            ("user.max_user_namespaces", 0, "`sudo sysctl -w user.max_user_namespaces=10000`"),
            ("user.max_net_namespaces", 0, "`sudo sysctl -w user.max_net_namespaces=10000`"),
            ("kernel.unprivileged_userns_clone", 0, "`sudo sysctl -w kernel.unprivileged_userns_clone=1`"),
            (
                "kernel.apparmor_restrict_unprivileged_userns",
                1,
                "`sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`",
            ),
        ] {
            let mut settings: Vec<_> = fine.into_iter().filter(|(other, _)| *other != name).collect();
            settings.push((name, refuses));
            let text = text(&kernel(&settings), "Operation not permitted");
            assert!(text.contains(&format!(": {name} is {refuses}. ")) && text.contains(change), "{text}");
            assert!(text.contains("as root") && !text.contains("Operation"), "{text}");
        }
    }

    #[test]
    fn several_settings_are_changed_by_one_command() {
        let both = [("user.max_user_namespaces", 0), ("kernel.unprivileged_userns_clone", 0)];
        let text = text(&kernel(&both), "");
        assert!(
            text.contains(
                "`sudo sysctl -w user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1`"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_refusal_without_a_setting_says_what_the_kernel_said_or_what_is_known() {
        let fine = kernel(&[("user.max_user_namespaces", 63_000)]);
        let said = "unshare: mount /proc failed: Operation not permitted";
        assert!(text(&fine, said).contains(said));
        let locked = Kernel { no_new_privileges: true, ..fine.clone() };
        assert!(text(&locked, said).contains("no_new_privs"), "{}", text(&locked, said));
        let old = Kernel { has_user_namespaces: false, ..fine };
        assert!(
            text(&old, said).ends_with("no user namespaces; run `osm local` as root"),
            "{}",
            text(&old, said)
        );
    }
}
