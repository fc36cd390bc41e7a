//! What a replica says of itself, as text: proxies that hold the same stand together, each by a hash of its name.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use osm_certs::rotation::{Holding, Report};
use osm_core::identity::ProxyUuid;
use osm_core::name::ObjectName;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The most of anything that is read.
const MOST: usize = 100_000;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Text {
    stage: u64,
    knows: BTreeSet<String>,
    /// With why not.
    signs: BTreeMap<String, Option<String>>,
    keeps: BTreeSet<String>,
    groups: Vec<Group>,
}

/// Proxies that hold the same.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Group {
    trusts: BTreeSet<String>,
    believes: BTreeSet<String>,
    /// Until when, in seconds since 1970; `None` when that is not known.
    presents: Option<BTreeMap<String, u64>>,
    proxies: String,
}

/// A name's hash: a proxy's name takes 36 bytes, and there may be thousands.
fn hash(proxy: &ProxyUuid) -> String {
    format!("{:016x}", xxh3_64(proxy.as_str().as_bytes()))
}

/// A report as text.
pub(super) fn write(report: &Report) -> String {
    let names = |roots: &BTreeSet<ObjectName>| roots.iter().map(ToString::to_string).collect();
    type Key = (BTreeSet<ObjectName>, BTreeSet<ObjectName>, Option<BTreeSet<ObjectName>>);
    let mut groups: BTreeMap<Key, (BTreeMap<ObjectName, SystemTime>, Vec<String>)> = BTreeMap::new();
    for (proxy, holding) in &report.proxies {
        let Holding { trusts, believes, presents } = holding;
        let roots = presents.as_ref().map(|presents| presents.keys().cloned().collect());
        let (untils, proxies) = groups.entry((trusts.clone(), believes.clone(), roots)).or_default();
        for (root, until) in presents.iter().flatten() {
            // One that ends later than another of its group is waited for by both.
            let last = untils.entry(root.clone()).or_insert(*until);
            *last = (*last).max(*until);
        }
        proxies.push(hash(proxy));
    }
    let group =
        |((trusts, believes, roots), (untils, proxies)): (Key, (BTreeMap<_, _>, Vec<String>))| Group {
            trusts: names(&trusts),
            believes: names(&believes),
            presents: roots.map(|_| {
                let seconds = |until: SystemTime| {
                    until.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() + 1)
                };
                untils
                    .into_iter()
                    .map(|(root, until): (ObjectName, _)| (root.to_string(), seconds(until)))
                    .collect()
            }),
            proxies: proxies.join(" "),
        };
    let text = Text {
        stage: report.stage,
        knows: names(&report.knows),
        signs: report.signs.iter().map(|(root, signs)| (root.to_string(), signs.clone().err())).collect(),
        keeps: names(&report.keeps),
        groups: groups.into_iter().map(group).collect(),
    };
    serde_json::to_string(&text).unwrap_or_default()
}

/// A report as another replica has written it; `None` when it is none. `known` are the proxies whose names are known here:
/// one that is not has a name made of its hash.
pub(super) fn read(text: &str, known: &BTreeMap<String, ProxyUuid>) -> Option<Report> {
    let Text { stage, knows, signs, keeps, groups } = serde_json::from_str(text).ok()?;
    let mut report = Report {
        stage,
        knows: names(&knows)?,
        signs: BTreeMap::new(),
        keeps: names(&keeps)?,
        proxies: BTreeMap::new(),
    };
    for (root, why) in signs.into_iter().take(MOST) {
        report.signs.insert(root.parse().ok()?, why.map_or(Ok(()), Err));
    }
    for Group { trusts, believes, presents, proxies } in groups.into_iter().take(MOST) {
        let presents = match presents {
            None => None,
            Some(presents) => {
                let until = |seconds: u64| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
                let each = presents
                    .into_iter()
                    .take(MOST)
                    .map(|(root, seconds)| Some((root.parse().ok()?, until(seconds)?)));
                Some(each.collect::<Option<_>>()?)
            }
        };
        let holding = Holding { trusts: names(&trusts)?, believes: names(&believes)?, presents };
        for proxy in proxies.split(' ').filter(|proxy| !proxy.is_empty()).take(MOST) {
            let name = match known.get(proxy) {
                Some(name) => name.clone(),
                None => format!("unknown-{proxy}").parse().ok()?,
            };
            // Two names may have one hash: what is known of either counts.
            match report.proxies.entry(name) {
                Entry::Vacant(entry) => drop(entry.insert(holding.clone())),
                Entry::Occupied(mut entry) => entry.get_mut().join(holding.clone()),
            }
        }
    }
    Some(report)
}

/// The names of proxies by their hashes.
pub(super) fn hashes<'a>(proxies: impl IntoIterator<Item = &'a ProxyUuid>) -> BTreeMap<String, ProxyUuid> {
    proxies.into_iter().map(|proxy| (hash(proxy), proxy.clone())).collect()
}

fn names(texts: &BTreeSet<String>) -> Option<BTreeSet<ObjectName>> {
    texts.iter().take(MOST).map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(names: &[&str]) -> BTreeSet<ObjectName> {
        names.iter().map(|name| name.parse().expect("a name")).collect()
    }

    fn until(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn holding(trusts: &[&str], presents: Option<&[(&str, u64)]>) -> Holding {
        let presents = presents.map(|presents| {
            presents.iter().map(|(root, seconds)| (root.parse().expect("a name"), until(*seconds))).collect()
        });
        Holding { trusts: roots(trusts), believes: roots(&["a"]), presents }
    }

    fn report() -> Report {
        let proxies: [(&str, Holding); 4] = [
            ("one", holding(&["a", "b"], Some(&[("a", 100)]))),
            ("two", holding(&["a", "b"], Some(&[("a", 200)]))),
            ("three", holding(&["a"], None)),
            ("four", holding(&["a"], Some(&[]))),
        ];
        Report {
            stage: 7,
            knows: roots(&["a", "b"]),
            signs: [("a", Ok(())), ("b", Err("it is away".to_owned()))]
                .map(|(root, signs)| (root.parse().expect("a name"), signs))
                .into(),
            keeps: roots(&["a"]),
            proxies: proxies.map(|(name, holding)| (name.parse().expect("a name"), holding)).into(),
        }
    }

    #[test]
    fn a_report_reads_back_and_certificates_end_no_sooner_than_they_do() {
        let known = hashes(report().proxies.keys());
        let read = read(&write(&report()), &known).expect("a report");
        assert_eq!((read.stage, &read.knows, &read.keeps), (7, &report().knows, &report().keeps));
        assert_eq!(read.signs, report().signs);
        assert_eq!(read.proxies.keys().collect::<Vec<_>>(), report().proxies.keys().collect::<Vec<_>>());
        for (proxy, holding) in &report().proxies {
            let read = &read.proxies[proxy];
            assert_eq!((&read.trusts, &read.believes), (&holding.trusts, &holding.believes));
            let ends = |holding: &Holding| {
                holding.presents.as_ref().map(|presents| presents.values().max().copied())
            };
            assert!(ends(read) >= ends(holding), "{proxy}");
            assert_eq!(read.presents.is_some(), holding.presents.is_some(), "{proxy}");
        }
    }

    #[test]
    fn a_proxy_whose_name_is_not_known_counts_too() {
        let read = read(&write(&report()), &BTreeMap::new()).expect("a report");
        assert_eq!(read.proxies.len(), 4);
        assert!(read.proxies.keys().all(|proxy| proxy.as_str().starts_with("unknown-")));
    }

    #[test]
    fn what_is_none_is_none_and_thousands_of_proxies_fit() {
        for text in ["", "{", "{\"knows\":[\"A B\"]}", "{\"groups\":[{\"proxies\":\"no name!\"}]}"] {
            assert_eq!(read(text, &BTreeMap::new()), None, "{text}");
        }
        let proxies = (0..10_000).map(|number| {
            let name = format!("6f1a7c1e-0000-4000-8000-{number:012}").parse().expect("a name");
            (name, holding(&["a", "b"], Some(&[("a", number)])))
        });
        let many = Report { proxies: proxies.collect(), ..report() };
        assert!(write(&many).len() < osm_k8s::replicas::MAX_TEXT, "{}", write(&many).len());
    }
}
