//! The numbers that an ordinary user may lend: `/etc/subuid` and `/etc/subgid`.

use std::fs;
use std::ops::RangeInclusive;

use anyhow::{Result, bail};

/// Where numbers for ordinary users begin when nobody has any yet.
const FIRST: u32 = 100_000;
/// How many a user gets by custom.
const CUSTOM: u32 = 65_536;

/// Two users and two groups, one for Envoys and one for applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lent {
    /// Numbers of users.
    pub users: [u32; 2],
    /// Numbers of groups.
    pub groups: [u32; 2],
}

impl Lent {
    /// What a user may lend, by this machine's files.
    ///
    /// # Errors
    /// When it is too little; the text has the command that changes it.
    pub fn of(name: &str, uid: u32) -> Result<Self> {
        // A file that is not there lends nothing.
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::by(&read("/etc/subuid"), &read("/etc/subgid"), name, uid)
    }

    /// What a user may lend, by the text of both files.
    ///
    /// # Errors
    /// When it is too little; the text has the command that changes it.
    pub fn by(subuid: &str, subgid: &str, name: &str, uid: u32) -> Result<Self> {
        let (users, groups) = (last_two(subuid, name, uid), last_two(subgid, name, uid));
        if let (Some(users), Some(groups)) = (users, groups) {
            return Ok(Self { users, groups });
        }
        let mut files = Vec::new();
        let mut options = String::new();
        let missing = [
            (users, "/etc/subuid", "--add-subuids", subuid),
            (groups, "/etc/subgid", "--add-subgids", subgid),
        ];
        for (_, file, option, text) in missing.into_iter().filter(|(lent, ..)| lent.is_none()) {
            files.push(file);
            let free = free(text);
            options.push_str(&format!("{option} {}-{} ", free.start(), free.end()));
        }
        bail!(
            "{} gives the user {name} no numbers for the users that Envoys and applications run as: \
             add some with `sudo usermod {options}{name}`, or run it as root",
            files.join(" and ")
        );
    }
}

/// The entries of a file, as its owner, first number and count.
fn entries(text: &str) -> impl Iterator<Item = (&str, u32, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        Some((owner, first.parse().ok()?, count.parse().ok()?))
    })
}

/// The last two of a user's numbers: others who lend some, such as container
/// engines, count from the first.
fn last_two(text: &str, name: &str, uid: u32) -> Option<[u32; 2]> {
    let uid = uid.to_string();
    let own = entries(text).filter(|(owner, ..)| *owner == name || *owner == uid);
    own.filter(|(_, _, count)| *count >= 2).find_map(|(_, first, count)| {
        let end = first.checked_add(count)?;
        Some([end - 2, end - 1])
    })
}

/// Numbers that nobody has yet.
fn free(text: &str) -> RangeInclusive<u32> {
    let ends = entries(text).map(|(_, first, count)| first.saturating_add(count));
    let first = ends.max().unwrap_or(FIRST).max(FIRST);
    first..=first.saturating_add(CUSTOM - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_numbers_of_a_range_are_lent_by_name_or_by_number() {
        for (text, expected) in [
            ("ann:100000:65536\n", Some([165_534, 165_535])),
            ("bob:1:9\n1001:200000:2\n", Some([200_000, 200_001])),
            ("ann:5:1\nann:300000:10", Some([300_008, 300_009])),
            ("ann:4294967295:2", None),
            ("ann:100000:1", None),
            ("annette:100000:65536", None),
            ("ann:x:65536\n\n# ann", None),
            ("", None),
        ] {
            assert_eq!(last_two(text, "ann", 1001), expected, "{text}");
        }
    }

    #[test]
    fn who_has_no_numbers_is_told_the_command_with_free_ones() {
        let refused =
            |subuid, subgid| Lent::by(subuid, subgid, "ann", 1001).expect_err("no numbers").to_string();
        let none = refused("", "bob:100000:65536");
        assert!(none.contains("/etc/subuid and /etc/subgid gives the user ann"), "{none}");
        assert!(
            none.contains("`sudo usermod --add-subuids 100000-165535 --add-subgids 165536-231071 ann`"),
            "{none}"
        );
        let groups = refused("ann:100000:65536", "");
        assert!(groups.starts_with("/etc/subgid") && !groups.contains("--add-subuids"), "{groups}");
        let lent = Lent::by("ann:7:2", "ann:9:2", "ann", 1001).expect("enough");
        assert_eq!(lent, Lent { users: [7, 8], groups: [9, 10] });
    }
}
