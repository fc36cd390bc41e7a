//! The stage of a change of roots, as it is written down.

use std::collections::BTreeMap;

use osm_core::model::MAX_TRUSTED_ROOTS;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which roots a mesh trusts and which sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// Counts up with each step.
    #[schemars(extend("format" = "int64"))]
    pub number: u64,
    /// The root by which workloads' certificates are signed.
    pub issuing: String,
    /// The root by which those of the control plane's servers are signed.
    pub serving: String,
    /// The roots that everybody is told to trust.
    #[schemars(extend("maxItems" = MAX_TRUSTED_ROOTS, "x-kubernetes-list-type" = "set"))]
    pub trusted: Vec<String>,
    /// The trust domains of identities under them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = MAX_TRUSTED_ROOTS))]
    pub trust_domains: BTreeMap<String, String>,
    /// Those of them by whose names no new connections are made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = MAX_TRUSTED_ROOTS, "x-kubernetes-list-type" = "set"))]
    pub leaving: Vec<String>,
    /// The root that signed when the wish came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// What was not reached in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<GivenUpStatus>,
    /// Tells the wish that it leads to from others: digits.
    #[schemars(extend("pattern" = "^[0-9]{1,20}$"))]
    pub revision: String,
    /// Whether people have asked for a pause.
    #[serde(default)]
    pub is_paused: bool,
    /// When it began.
    #[schemars(extend("format" = "date-time"))]
    pub since: String,
}

/// A change that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GivenUpStatus {
    /// The root that was to sign.
    pub root: String,
    /// The root that signs instead.
    pub instead: String,
}

#[cfg(feature = "client")]
mod conversion {
    use std::collections::BTreeSet;
    use std::time::SystemTime;

    use jiff::Timestamp;
    use osm_certs::rotation::{GivenUp, Stage};
    use osm_core::model::MAX_TRUSTED_ROOTS;
    use osm_core::name::{InvalidName, ObjectName};

    use super::super::InvalidStatus;
    use super::{GivenUpStatus, StageStatus};

    /// The longest text of a time that is looked at, in bytes.
    const MAX_TIME: usize = 64;

    impl StageStatus {
        /// Writes a stage down.
        #[must_use]
        pub fn of(stage: &Stage) -> Self {
            let Stage { number, issuing, serving, trusted, domains, leaving, .. } = stage;
            let Stage { previous, given_up, revision, is_paused, since, .. } = stage;
            let text = |name: &ObjectName| name.as_str().to_owned();
            Self {
                number: *number,
                issuing: text(issuing),
                serving: text(serving),
                trusted: trusted.iter().map(text).collect(),
                trust_domains: domains
                    .iter()
                    .map(|(root, domain)| (text(root), domain.to_string()))
                    .collect(),
                leaving: leaving.iter().map(text).collect(),
                previous: previous.as_ref().map(text),
                given_up: given_up.as_ref().map(|GivenUp { root, instead }| GivenUpStatus {
                    root: text(root),
                    instead: text(instead),
                }),
                revision: revision.to_string(),
                is_paused: *is_paused,
                since: time(*since).to_string(),
            }
        }

        /// The stage that was written down.
        ///
        /// # Errors
        /// The field by which nothing could go on: a name that is none, or a root that signs and is not trusted.
        pub fn stage(&self) -> Result<Stage, InvalidStatus> {
            let Self { number, issuing, serving, trusted, trust_domains, leaving, .. } = self;
            let Self { previous, given_up, revision, is_paused, since, .. } = self;
            if trusted.len() > MAX_TRUSTED_ROOTS {
                let message =
                    format!("there are {} roots, and {MAX_TRUSTED_ROOTS} are the most", trusted.len());
                return Err(invalid("trusted", &message));
            }
            let trusted = trusted.iter().enumerate();
            let trusted = trusted.map(|(index, text)| name(&format!("trusted[{index}]"), text));
            let trusted = trusted.collect::<Result<BTreeSet<_>, _>>()?;
            let signing = |field: &str, text: &str| {
                let root = name(field, text)?;
                match trusted.contains(&root) {
                    true => Ok(root),
                    false => Err(invalid(field, &format!("{root} signs and is not among those trusted"))),
                }
            };
            // Of roots that are not trusted, which are as many as somebody has written, nothing is kept.
            let of = |root: &ObjectName| {
                let field = format!("trustDomains.{root}");
                let domain = trust_domains.get(root.as_str())?.parse();
                Some(
                    domain
                        .map(|domain| (root.clone(), domain))
                        .map_err(|error: InvalidName| invalid(&field, &error.to_string())),
                )
            };
            let domains = trusted.iter().filter_map(of).collect::<Result<_, _>>()?;
            let given_up = given_up.as_ref().map(|GivenUpStatus { root, instead }| {
                let (root, instead) = (name("givenUp.root", root)?, name("givenUp.instead", instead)?);
                Ok(GivenUp { root, instead })
            });
            Ok(Stage {
                number: *number,
                issuing: signing("issuing", issuing)?,
                serving: signing("serving", serving)?,
                previous: previous.as_ref().map(|text| name("previous", text)).transpose()?,
                given_up: given_up.transpose()?,
                revision: revision.parse().map_err(|_| invalid("revision", "it is not a number"))?,
                is_paused: *is_paused,
                since: read_time(since)?,
                leaving: trusted
                    .iter()
                    .filter(|root| leaving.iter().any(|text| text == root.as_str()))
                    .cloned()
                    .collect(),
                trusted,
                domains,
            })
        }
    }

    fn invalid(field: &str, message: &str) -> InvalidStatus {
        InvalidStatus::new(&format!("status.stage.{field}"), message)
    }

    fn name(field: &str, text: &str) -> Result<ObjectName, InvalidStatus> {
        text.parse().map_err(|error: InvalidName| invalid(field, &error.to_string()))
    }

    /// A time as it is written; one that no calendar has is the nearest that it has.
    fn time(time: SystemTime) -> Timestamp {
        let nearest = if time < SystemTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX };
        Timestamp::try_from(time).unwrap_or(nearest)
    }

    fn read_time(text: &str) -> Result<SystemTime, InvalidStatus> {
        let read = (text.len() <= MAX_TIME).then(|| text.parse::<Timestamp>().ok()).flatten();
        read.map(SystemTime::from)
            .ok_or_else(|| invalid("since", "it is not a time as in 2026-01-31T12:00:00Z"))
    }
}

#[cfg(all(test, feature = "client"))]
mod tests;
