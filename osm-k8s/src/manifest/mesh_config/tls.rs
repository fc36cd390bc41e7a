//! How proxies speak TLS with each other, as a MeshConfig asks for it.

use std::str::FromStr;

use osm_core::model::{self, CipherSuite, Curve, ServiceKey, TlsSettings};

use super::spec::{SidecarSpec, TlsVersion};
use crate::manifest::conversion::{Findings, shown};

/// The group that there is in TLS 1.3 only.
const HYBRID: &str = "X25519MLKEM768";
/// How many names are looked at.
const MOST_NAMES: usize = 32;

/// The settings; what can't be had is named, and left out.
pub(super) fn settings(spec: &SidecarSpec, key: ServiceKey, findings: &mut Findings) -> TlsSettings {
    let mut settings = TlsSettings::default();
    let version = |asked: Option<TlsVersion>, default| asked.and_then(TlsVersion::fact).unwrap_or(default);
    let (oldest, newest) = (
        version(spec.tls_min_protocol_version, settings.oldest),
        version(spec.tls_max_protocol_version, settings.newest),
    );
    if oldest > newest {
        let message = format!(
            "{oldest} is newer than spec.sidecar.tlsMaxProtocolVersion, {newest}; {} to {} are used",
            settings.oldest, settings.newest
        );
        findings.error("bad-tls-range", "spec.sidecar.tlsMinProtocolVersion", message);
    } else if newest < model::TlsVersion::V1_2 {
        let message = format!(
            "proxies have no cipher suites by themselves for {newest} (RFC 8996 forbids it); {} to {} are used",
            settings.oldest, settings.newest
        );
        findings.error("bad-tls-range", "spec.sidecar.tlsMaxProtocolVersion", message);
    } else {
        (settings.oldest, settings.newest) = (oldest, newest);
    }
    if settings.oldest < model::TlsVersion::V1_2 {
        let message = format!("{} is insecure (RFC 8996); write TLSv1_2 or TLSv1_3", settings.oldest);
        findings.warning("insecure-tls", "spec.sidecar.tlsMinProtocolVersion", message);
    }
    let suites = spec.cipher_suites.iter().filter(|suite| !CipherSuite::ALWAYS_ON.contains(&suite.as_str()));
    settings.cipher_suites = known("spec.sidecar.cipherSuites", suites, findings);
    settings.curves = known("spec.sidecar.ecdhCurves", spec.ecdh_curves.iter(), findings);
    check_suites(&mut settings, key, findings);
    check_curves(&mut settings, key, findings);
    settings
}

/// The names that there are, each once.
fn known<'a, T: FromStr<Err: std::fmt::Display> + PartialEq>(
    path: &str,
    names: impl Iterator<Item = &'a String>,
    findings: &mut Findings,
) -> Vec<T> {
    let mut known = Vec::new();
    for name in names.take(MOST_NAMES) {
        match name.parse() {
            Ok(name) if known.contains(&name) => {}
            Ok(name) => known.push(name),
            Err(error) => {
                let message = format!("`{}` is not known: {error}. It is left out", shown(name));
                findings.error("unknown-tls-name", path, message);
            }
        }
    }
    known
}

/// Up to TLS 1.2 a suite belongs to a kind of key. Without one for the workloads' keys nobody could connect.
fn check_suites(settings: &mut TlsSettings, key: ServiceKey, findings: &mut Findings) {
    let is_rsa = curve_of(key).is_none();
    let suits = |suite: &CipherSuite| suite.is_for_rsa() == is_rsa;
    let suites = &settings.cipher_suites;
    if settings.newest >= model::TlsVersion::V1_3 || suites.is_empty() || suites.iter().any(suits) {
        return;
    }
    let kind = if is_rsa { "RSA" } else { "ECDSA" };
    let message = format!(
        "workloads have keys of {kind}, and none of these is for them: add one of ECDHE-{kind}-…, or allow TLS 1.3. \
         The proxies' own list is used"
    );
    findings.error("no-cipher-suite", "spec.sidecar.cipherSuites", message);
    settings.cipher_suites.clear();
}

/// The curve that keys are on; `None` for RSA.
fn curve_of(key: ServiceKey) -> Option<&'static str> {
    match key {
        ServiceKey::P256 => Some("P-256"),
        ServiceKey::P384 => Some("P-384"),
        ServiceKey::Rsa2048 | ServiceKey::Rsa3072 | ServiceKey::Rsa4096 => None,
    }
}

/// Up to TLS 1.2 a key on a curve needs that curve among those that are offered, and one of RSA one that there is up to TLS 1.2.
/// The proxies' own list has X25519 and P-256.
fn check_curves(settings: &mut TlsSettings, key: ServiceKey, findings: &mut Findings) {
    let own = ["X25519", "P-256"];
    let offers = |name: &str| match settings.curves.as_slice() {
        [] => own.contains(&name),
        curves => curves.iter().any(|curve| curve.as_str() == name),
    };
    let needed = curve_of(key);
    let serves = match needed {
        Some(curve) => offers(curve),
        None => settings.curves.is_empty() || settings.curves.iter().any(|curve| curve.as_str() != HYBRID),
    };
    if settings.newest >= model::TlsVersion::V1_3 || serves {
        return;
    }
    let added = needed.unwrap_or("X25519");
    let message = format!(
        "up to TLS 1.2 {} has to be among the curves for the workloads' keys: add it, or allow TLS 1.3. \
         It is used with the others",
        if needed.is_some() { added } else { "another one than X25519MLKEM768" }
    );
    findings.error("no-curve-for-keys", "spec.sidecar.ecdhCurves", message);
    if settings.curves.is_empty() {
        settings.curves = own.into_iter().filter_map(|name| name.parse().ok()).collect();
    }
    settings.curves.extend(added.parse::<Curve>());
}

impl TlsVersion {
    /// The version; `None` for what the mesh chooses.
    fn fact(self) -> Option<model::TlsVersion> {
        match self {
            Self::TLS_AUTO => None,
            Self::TLSv1_0 => Some(model::TlsVersion::V1_0),
            Self::TLSv1_1 => Some(model::TlsVersion::V1_1),
            Self::TLSv1_2 => Some(model::TlsVersion::V1_2),
            Self::TLSv1_3 => Some(model::TlsVersion::V1_3),
        }
    }
}

#[cfg(test)]
mod tests {
    use osm_core::model::{MeshObject, TlsSettings, TlsVersion};

    use crate::manifest::testing::{convert, findings};

    fn of(spec: &str) -> (TlsSettings, Vec<String>) {
        let text = format!(
            "{{apiVersion: config.openservicemesh.io/v1alpha2, kind: MeshConfig, \
             metadata: {{name: osm-mesh-config, namespace: osm-system}}, spec: {spec}}}"
        );
        let MeshObject::MeshConfig(config) = &convert(&text).objects[0] else { panic!("not a MeshConfig") };
        (TlsSettings::clone(&config.tls), findings(&text))
    }

    #[test]
    fn versions_suites_and_curves_are_taken_in_their_order() {
        let (settings, found) = of(
            "{sidecar: {tlsMinProtocolVersion: TLSv1_3, tlsMaxProtocolVersion: TLS_AUTO, \
             cipherSuites: [ECDHE-RSA-AES256-GCM-SHA384, ECDHE-ECDSA-AES128-GCM-SHA256, TLS_AES_128_GCM_SHA256], \
             ecdhCurves: [P-384, X25519, P-384]}}",
        );
        assert_eq!(found, [""; 0]);
        assert_eq!((settings.oldest, settings.newest), (TlsVersion::V1_3, TlsVersion::V1_3));
        assert_eq!(
            format!("{:?} {:?}", settings.cipher_suites, settings.curves),
            "[ECDHE-RSA-AES256-GCM-SHA384, ECDHE-ECDSA-AES128-GCM-SHA256] [P-384, X25519]"
        );
    }

    #[test]
    fn what_is_not_said_is_tls_1_2_and_1_3() {
        for spec in ["{}", "{sidecar: {tlsMinProtocolVersion: TLS_AUTO, cipherSuites: null}}"] {
            assert_eq!(of(spec), (TlsSettings::default(), vec![]), "{spec}");
        }
    }

    #[test]
    fn what_cannot_be_had_is_named_and_left_out() {
        let (settings, found) =
            of("{sidecar: {tlsMinProtocolVersion: TLSv1_3, tlsMaxProtocolVersion: TLSv1_2}}");
        assert_eq!(
            (settings, found),
            (TlsSettings::default(), vec!["bad-tls-range spec.sidecar.tlsMinProtocolVersion".to_owned()])
        );
        let (settings, found) = of("{sidecar: {ecdhCurves: [secp256r1, P-256], cipherSuites: [RC4-MD5]}}");
        assert_eq!(format!("{:?} {:?}", settings.cipher_suites, settings.curves), "[] [P-256]");
        assert_eq!(
            found,
            ["unknown-tls-name spec.sidecar.cipherSuites", "unknown-tls-name spec.sidecar.ecdhCurves"]
        );
        let (settings, found) = of("{sidecar: {tlsMinProtocolVersion: TLSv1_0}}");
        assert_eq!((settings.oldest, found.len()), (TlsVersion::V1_0, 1));
        let (settings, found) =
            of("{sidecar: {tlsMinProtocolVersion: TLSv1_0, tlsMaxProtocolVersion: TLSv1_1}}");
        assert_eq!(
            (settings, found),
            (TlsSettings::default(), vec!["bad-tls-range spec.sidecar.tlsMaxProtocolVersion".to_owned()])
        );
    }

    #[test]
    fn keys_have_their_curve_where_they_need_it() {
        let curves = |size: u32, sidecar: &str| {
            let (settings, found) =
                of(&format!("{{certificate: {{certKeyBitSize: {size}}}, sidecar: {{{sidecar}}}}}"));
            (format!("{:?}", settings.curves), found.len())
        };
        assert_eq!(curves(384, ""), ("[]".to_owned(), 0));
        assert_eq!(curves(256, "tlsMaxProtocolVersion: TLSv1_2"), ("[]".to_owned(), 0));
        // Neither do keys on P-256, and those of RSA need one that there is in TLS 1.2.
        for (size, asked, used) in [
            (0, "P-384", "[P-384, P-256]"),
            (256, "X25519", "[X25519, P-256]"),
            (2048, "X25519MLKEM768", "[X25519MLKEM768, X25519]"),
        ] {
            let settings = format!("tlsMaxProtocolVersion: TLSv1_2, ecdhCurves: [{asked}]");
            assert_eq!(curves(size, &settings), (used.to_owned(), 1));
        }
        assert_eq!(curves(2048, "tlsMaxProtocolVersion: TLSv1_2, ecdhCurves: [P-384]").1, 0);
        let added = ("[X25519, P-256, P-384]".to_owned(), 1);
        assert_eq!(curves(384, "tlsMaxProtocolVersion: TLSv1_2"), added);
        let own = "tlsMaxProtocolVersion: TLSv1_2, ecdhCurves: [P-521, P-384]";
        assert_eq!(curves(384, own), ("[P-521, P-384]".to_owned(), 0));
        let suites = "tlsMaxProtocolVersion: TLSv1_2, ecdhCurves: [P-384], cipherSuites: [ECDHE-ECDSA-AES128-GCM-SHA256]";
        assert_eq!(curves(384, suites).1, 0);
    }

    #[test]
    fn suites_for_another_kind_of_key_are_not_all_that_is_left() {
        let asked = |newest: &str| {
            of(&format!(
                "{{sidecar: {{tlsMaxProtocolVersion: {newest}, cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256]}}}}"
            ))
        };
        assert_eq!(asked("TLSv1_3").1, [""; 0]);
        let (settings, found) = asked("TLSv1_2");
        assert_eq!(found, ["no-cipher-suite spec.sidecar.cipherSuites"]);
        assert!(settings.cipher_suites.is_empty());
    }
}
