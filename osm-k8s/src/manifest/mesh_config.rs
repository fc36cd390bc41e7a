//! MeshConfig (config.openservicemesh.io/v1alpha2).
//!
//! Every field of the schema reads. One that asks for something that the mesh
//! does not do yet is named, so that nobody relies on it.

mod spec;
mod tls;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use osm_core::interception::InterfaceName;
use osm_core::model;
use osm_core::name::{Kind, ObjectRef};
use serde::Deserialize;

use super::conversion::{Findings, shown};
use super::field::Ignored;
use super::{Conversion, Metadata, duration, field};

pub use spec::{
    CertificateSpec, ExternalAuthorization, FeatureFlags, IngressGateway, LocalProxyMode, LogLevel,
    MeshConfigSpec, ObservabilitySpec, SecretRef, SidecarSpec, TlsVersion, TracingSpec, TrafficSpec,
};

/// The shortest life of a service certificate; a shorter one is raised to it.
pub const MIN_CERTIFICATE_VALIDITY: Duration = Duration::from_secs(10 * 60);

/// A MeshConfig.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeshConfig {
    #[serde(default, rename = "apiVersion")]
    _api_version: Ignored,
    #[serde(default, rename = "kind")]
    _kind: Ignored,
    /// Name and namespace.
    pub metadata: Metadata,
    /// The settings.
    #[serde(default, deserialize_with = "field::nullable")]
    pub spec: MeshConfigSpec,
    #[serde(default, rename = "status")]
    _status: Ignored,
}

impl MeshConfig {
    /// The settings as a fact.
    #[must_use]
    pub fn facts(&self) -> Conversion {
        let name = self.metadata.qualified_name();
        let mut findings = Findings::about(ObjectRef::namespaced(Kind::MeshConfig, &name));
        let mut fact = model::MeshConfig::new(name);
        fact.meta = self.metadata.meta();
        fact.permissive = self.spec.traffic.enable_permissive_traffic_policy_mode;
        fact.egress = self.spec.traffic.enable_egress;
        fact.service_certificate_validity = self.certificate_validity(&mut findings);
        fact.service_key = self.service_key(&mut findings);
        fact.tls = Arc::new(tls::settings(&self.spec.sidecar, fact.service_key, &mut findings));
        fact.max_data_plane_connections = NonZeroU32::new(self.spec.sidecar.max_data_plane_connections);
        self.check_resync(&mut findings);
        self.check_flags(&mut findings);
        self.check_interfaces(&mut findings);
        for field in self.spec.fields_without_effect() {
            findings.warning("no-effect-yet", field, "this field has no effect yet");
        }
        findings.with(fact)
    }

    /// The key of the size that is asked for: RSA, or an elliptic curve of 256 or 384 bits. The proxies'
    /// TLS has three sizes of RSA; one in between is raised to the next.
    fn service_key(&self, findings: &mut Findings) -> model::ServiceKey {
        let path = "spec.certificate.certKeyBitSize";
        let asked = self.spec.certificate.cert_key_bit_size;
        let (key, size) = match asked {
            0 => return model::ServiceKey::default(),
            256 => return model::ServiceKey::P256,
            384 => return model::ServiceKey::P384,
            2048 => return model::ServiceKey::Rsa2048,
            3072 => return model::ServiceKey::Rsa3072,
            4096 => return model::ServiceKey::Rsa4096,
            2049..3072 => (model::ServiceKey::Rsa3072, 3072),
            3073..4096 => (model::ServiceKey::Rsa4096, 4096),
            _ => {
                let message = format!(
                    "{asked} is no size for keys; ECDSA P-256 is used. Write 256 or 384 for ECDSA, 2048, 3072 or 4096 for RSA, or leave it out"
                );
                findings.error("bad-key-size", path, message);
                return model::ServiceKey::default();
            }
        };
        let message = format!("RSA keys have 2048, 3072 or 4096 bits; for {asked}, {size} are used");
        findings.warning("key-size-raised", path, message);
        key
    }

    fn check_flags(&self, findings: &mut Findings) {
        if self.spec.feature_flags.enable_mesh_root_certificate {
            let message = "MeshRootCertificates are read in any case. The field is not needed; remove it";
            findings.info("not-needed", "spec.featureFlags.enableMeshRootCertificate", message);
        }
    }

    fn check_interfaces(&self, findings: &mut Findings) {
        for (index, name) in self.spec.traffic.network_interface_exclusion_list.iter().enumerate() {
            if let Err(error) = name.parse::<InterfaceName>() {
                let field = format!("spec.traffic.networkInterfaceExclusionList[{index}]");
                findings.error("bad-interface", field, format!("{error}; it is not excluded"));
            }
        }
    }

    fn check_resync(&self, findings: &mut Findings) {
        if !matches!(self.spec.sidecar.config_resync_interval.as_str(), "" | "0" | "0s") {
            let message = "nothing is sent again at intervals: what each proxy has is known, and checked. \
                           The field is not needed; remove it";
            findings.info("not-needed", "spec.sidecar.configResyncInterval", message);
        }
    }

    fn certificate_validity(&self, findings: &mut Findings) -> Duration {
        let path = "spec.certificate.serviceCertValidityDuration";
        let default = model::MeshConfig::DEFAULT_CERTIFICATE_VALIDITY;
        let text = match self.spec.certificate.service_cert_validity_duration.as_deref() {
            None | Some("") => return default,
            Some(text) => text,
        };
        match duration::parse(text) {
            Ok(validity) if validity < MIN_CERTIFICATE_VALIDITY => {
                let message = format!("`{}` is shorter than 10 minutes; 10 minutes are used", shown(text));
                findings.warning("validity-too-short", path, message);
                MIN_CERTIFICATE_VALIDITY
            }
            Ok(validity) => validity,
            Err(reason) => {
                let message = format!(
                    "`{}` is not a duration: {reason}; 24h is used. Write it as `24h` or `1h30m`",
                    shown(text)
                );
                findings.error("bad-duration", path, message);
                default
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::manifest::testing::{convert, fact, findings, read_error};
    use osm_core::model::{MeshConfig, MeshObject, ServiceKey};

    fn text(spec: &str) -> String {
        format!(
            "{{apiVersion: config.openservicemesh.io/v1alpha2, kind: MeshConfig, \
             metadata: {{name: osm-mesh-config, namespace: osm-system}}, spec: {spec}}}"
        )
    }

    fn config(spec: &str) -> MeshConfig {
        match fact(&text(spec)) {
            MeshObject::MeshConfig(config) => config,
            other => panic!("{other:?} is not a MeshConfig"),
        }
    }

    fn validity(spec: &str) -> (u64, Vec<String>) {
        let text = text(spec);
        let MeshObject::MeshConfig(config) = &convert(&text).objects[0] else { panic!("not a MeshConfig") };
        (config.service_certificate_validity.as_secs(), findings(&text))
    }

    #[test]
    fn what_is_not_said_is_not_allowed() {
        for spec in ["null", "{}", "{traffic: {}}", "{traffic: null, certificate: null}"] {
            let config = config(spec);
            assert!(!config.permissive && !config.egress, "{spec}");
            assert_eq!(config.service_certificate_validity.as_secs(), 86_400);
        }
    }

    #[test]
    fn the_settings_of_the_mesh_are_taken() {
        let config = config(
            "{traffic: {enablePermissiveTrafficPolicyMode: true, enableEgress: true}, \
             certificate: {serviceCertValidityDuration: 1h30m}}",
        );
        assert!(config.permissive && config.egress);
        assert_eq!(config.service_certificate_validity.as_secs(), 5400);
    }

    #[test]
    fn a_bad_validity_is_a_day_and_a_short_one_ten_minutes() {
        let of =
            |text: &str| validity(&format!("{{certificate: {{serviceCertValidityDuration: '{text}'}}}}"));
        let path = "spec.certificate.serviceCertValidityDuration";
        assert_eq!(of("a day"), (86_400, vec![format!("bad-duration {path}")]));
        assert_eq!(of("-1h"), (86_400, vec![format!("bad-duration {path}")]));
        assert_eq!(of("5m"), (600, vec![format!("validity-too-short {path}")]));
        assert_eq!(of("10m"), (600, vec![]));
    }

    #[test]
    fn every_field_of_the_schema_reads_and_those_without_effect_are_named() {
        let spec = "
  sidecar:
    enablePrivilegedInitContainer: true
    logLevel: off
    maxDataPlaneConnections: 5
    envoyImage: a
    envoyWindowsImage: b
    initContainerImage: c
    resources: {limits: {cpu: 1}}
    configResyncInterval: 30s
    tlsMinProtocolVersion: TLSv1_2
    tlsMaxProtocolVersion: TLSv1_2
    cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256]
    ecdhCurves: [P-256]
    localProxyMode: PodIP
  traffic:
    enableEgress: true
    outboundIPRangeExclusionList: [10.0.0.0/8]
    outboundIPRangeInclusionList: [10.1.0.0/16]
    outboundPortExclusionList: [6379]
    inboundPortExclusionList: [7070]
    networkInterfaceExclusionList: [eth1]
    enablePermissiveTrafficPolicyMode: true
    inboundExternalAuthorization: {enable: true, address: a, port: 9191, statPrefix: x, timeout: 1s, failureModeAllow: false}
  observability:
    osmLogLevel: debug
    enableDebugServer: true
    tracing: {enable: true, port: 9411, address: a, endpoint: /api/v2/spans}
  certificate:
    serviceCertValidityDuration: 24h
    certKeyBitSize: 4096
    ingressGateway: {subjectAltNames: [a.example.com], validityDuration: 24h, secret: {name: s, namespace: n}}
  featureFlags:
    enableWASMStats: true
    enableEgressPolicy: true
    enableMulticlusterMode: true
    enableSnapshotCacheMode: true
    enableAsyncProxyServiceMapping: true
    enableIngressBackendPolicy: true
    enableEnvoyActiveHealthChecks: true
    enableRetryPolicy: true
    enableMeshRootCertificate: true
";
        let text = format!(
            "apiVersion: config.openservicemesh.io/v1alpha2\nkind: MeshConfig\nmetadata: {{name: c}}\nspec:{spec}"
        );
        let found = findings(&text);
        for field in [
            "spec.sidecar.envoyWindowsImage",
            "spec.traffic.inboundExternalAuthorization",
            "spec.observability.tracing",
            "spec.certificate.ingressGateway",
        ] {
            assert!(found.contains(&format!("no-effect-yet {field}")), "{field} is not in {found:#?}");
        }
        for field in ["spec.sidecar.configResyncInterval", "spec.featureFlags.enableMeshRootCertificate"] {
            assert!(found.contains(&format!("not-needed {field}")), "{field} is not in {found:#?}");
        }
        let others = found.iter().filter(|one| !one.starts_with("no-effect-yet "));
        assert_eq!(others.count(), 2, "{found:#?}");
        assert!(!found.iter().any(|one| one.contains("enableEgress ") || one.contains("logLevel")));
    }

    #[test]
    fn an_interface_that_cannot_be_one_is_named() {
        let found = findings(&text("{traffic: {networkInterfaceExclusionList: [eth1, 'eth0 -j ACCEPT']}}"));
        assert_eq!(found, ["bad-interface spec.traffic.networkInterfaceExclusionList[1]"]);
    }

    #[test]
    fn the_fields_that_only_injection_reads_are_known() {
        let spec = r#"{"sidecar": {"logLevel": "debug", "resources": {}, "localProxyMode": "PodIP"},
            "traffic": {"inboundPortExclusionList": [80], "enableEgress": true}}"#;
        let spec: super::MeshConfigSpec = serde_json::from_str(spec).expect("a spec");
        let fields = spec.fields_of_injection();
        assert_eq!(
            fields,
            ["spec.sidecar.logLevel", "spec.sidecar.localProxyMode", "spec.traffic.inboundPortExclusionList"]
        );
    }

    #[test]
    fn a_key_size_asks_for_rsa_and_no_size_for_an_elliptic_curve() {
        let of = |size: &str| {
            let text = text(&format!("{{certificate: {{certKeyBitSize: {size}}}}}"));
            let MeshObject::MeshConfig(config) = &convert(&text).objects[0] else {
                panic!("not a MeshConfig")
            };
            (config.service_key, findings(&text))
        };
        let path = "spec.certificate.certKeyBitSize";
        for none in ["0", "null"] {
            assert_eq!(of(none), (ServiceKey::P256, vec![]));
        }
        assert_eq!(of("256"), (ServiceKey::P256, vec![]));
        assert_eq!(of("384"), (ServiceKey::P384, vec![]));
        assert_eq!(of("2048"), (ServiceKey::Rsa2048, vec![]));
        assert_eq!(of("3072"), (ServiceKey::Rsa3072, vec![]));
        assert_eq!(of("4096"), (ServiceKey::Rsa4096, vec![]));
        assert_eq!(of("2500"), (ServiceKey::Rsa3072, vec![format!("key-size-raised {path}")]));
        assert_eq!(of("4095"), (ServiceKey::Rsa4096, vec![format!("key-size-raised {path}")]));
        for bad in ["1", "521", "1024", "2047", "4097", "8192"] {
            assert_eq!(of(bad), (ServiceKey::P256, vec![format!("bad-key-size {path}")]), "{bad}");
        }
    }

    #[test]
    fn a_limit_of_proxies_is_taken_and_0_is_none() {
        let of = |most: u32| {
            config(&format!("{{sidecar: {{maxDataPlaneConnections: {most}}}}}")).max_data_plane_connections
        };
        assert_eq!(of(0), None);
        assert_eq!(of(5).map(std::num::NonZeroU32::get), Some(5));
    }

    #[test]
    fn what_the_mesh_does_anyway_is_not_worth_a_word() {
        config(
            "{sidecar: {tlsMinProtocolVersion: TLSv1_2, tlsMaxProtocolVersion: TLSv1_3, localProxyMode: Localhost, \
             maxDataPlaneConnections: 0, configResyncInterval: 0s, logLevel: ''}, \
             traffic: {outboundPortExclusionList: [], inboundExternalAuthorization: {enable: false}}, \
             observability: {enableDebugServer: false, tracing: {enable: false}}, \
             featureFlags: {enableRetryPolicy: false}}",
        );
    }

    #[test]
    fn a_value_out_of_its_range_does_not_read() {
        for (field, spec) in [
            ("spec.sidecar.logLevel", "{sidecar: {logLevel: loud}}"),
            ("spec.sidecar.localProxyMode", "{sidecar: {localProxyMode: Host}}"),
            ("spec.sidecar.tlsMinProtocolVersion", "{sidecar: {tlsMinProtocolVersion: TLSv2}}"),
            ("spec.traffic.inboundPortExclusionList[0]", "{traffic: {inboundPortExclusionList: [70000]}}"),
            (
                "spec.traffic.outboundIPRangeExclusionList[0]",
                "{traffic: {outboundIPRangeExclusionList: [10.0.0.0/33]}}",
            ),
            ("spec.traffic.enableEgres", "{traffic: {enableEgres: true}}"),
            ("spec.traffic.enableEgress", "{traffic: {enableEgress: 7}}"),
            ("spec.trafic", "{trafic: {}}"),
        ] {
            let error = read_error(&text(spec));
            assert_eq!(error.field, field, "{error}");
        }
    }
}
