//! What an error of the API server means, and what to do about it. Pure.

use kube::runtime::watcher;
use osm_certs::issuer::IssuerError;

use super::options::CertManagerOptions;
use super::request::Open;

/// What a refused or failed call to the API server means.
pub(super) fn of_server(what: &str, error: kube::Error, options: &CertManagerOptions) -> IssuerError {
    let namespace = &options.namespace;
    let kube::Error::Api(status) = &error else {
        return IssuerError::unavailable(format!("the API server cannot be asked ({what})")).because(error);
    };
    let said = status.message.as_str();
    let by_webhook = said.contains("admission webhook");
    match status.code {
        404 if said.contains("namespaces") => {
            IssuerError::refused(format!("{what}: there is no namespace {namespace}"))
        }
        404 => IssuerError::refused(format!(
            "{what}: the cluster does not know CertificateRequests of cert-manager.io/v1: install cert-manager"
        )),
        403 if !by_webhook => IssuerError::refused(format!(
            "{what} is not allowed: give the mesh's service account create, list, watch and delete on \
             certificaterequests.cert-manager.io in namespace {namespace}"
        )),
        400..=499 if status.code != 429 && status.code != 401 => {
            IssuerError::refused(format!("{what}: the API server takes no such request"))
        }
        _ => IssuerError::unavailable(format!("the API server cannot do it now ({what})")),
    }
    .because(error)
}

/// What it means that requests can't be watched.
pub(super) fn of_watch(error: watcher::Error, options: &CertManagerOptions) -> IssuerError {
    let what = "watching requests to cert-manager";
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => of_server(what, error, options),
        watcher::Error::WatchError(status) => of_server(what, kube::Error::Api(status), options),
        error @ watcher::Error::NoResourceVersion => {
            IssuerError::unavailable(format!("the API server cannot be asked ({what})")).because(error)
        }
    }
}

/// What it means that a request was not answered in time; or that an answer could not be seen, for a reason that is known.
pub(super) fn of_silence(
    state: &Open,
    blind: Option<&IssuerError>,
    options: &CertManagerOptions,
) -> IssuerError {
    match blind {
        Some(IssuerError::Refused { message, .. }) => return IssuerError::refused(message),
        Some(IssuerError::Unavailable { message, .. }) => return IssuerError::unavailable(message),
        None => {}
    }
    let (issuer, seconds) = (&options.issuer, options.patience.as_secs_f32());
    let what = match state {
        Open::Unseen => "the API server has not shown the request since it was made".to_owned(),
        Open::Unanswered => {
            "nobody has approved or denied the request: is cert-manager running, and an approver for this issuer?"
                .to_owned()
        }
        Open::Approved => {
            format!("the request was approved and nobody has signed: is the controller running that signs for {issuer}?")
        }
        Open::Pending(reason) => format!("{issuer} is not ready: {reason}"),
    };
    IssuerError::unavailable(format!("no certificate within {seconds} s: {what}"))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;
    use crate::cert_manager::IssuerRef;

    fn options() -> CertManagerOptions {
        let namespace = "mesh".parse().expect("a name");
        CertManagerOptions::new(namespace, "osm", IssuerRef::external("ours", "Pool", "ca.example.org"))
    }

    fn said(code: u16, message: &str) -> String {
        let status = Status::failure(message, "").with_code(code);
        of_server("asking", kube::Error::Api(status.boxed()), &options()).to_string()
    }

    #[test]
    fn answers_of_the_api_server_are_told_by_who_can_act() {
        let table = [
            (404, "namespaces \"mesh\" not found", "refuses: asking: there is no namespace mesh"),
            (404, "404 page not found", "install cert-manager"),
            (
                403,
                "certificaterequests is forbidden",
                "refuses: asking is not allowed: give the mesh's service account",
            ),
            (
                403,
                "admission webhook \"x\" denied the request",
                "refuses: asking: the API server takes no such request",
            ),
            (422, "spec.usages", "refuses: asking: the API server takes no such request"),
            (401, "Unauthorized", "unavailable: the API server cannot do it now (asking)"),
            (429, "too many", "unavailable: the API server cannot do it now (asking)"),
            (500, "failed calling webhook", "unavailable: the API server cannot do it now (asking)"),
        ];
        for (code, message, expected) in table {
            let said = said(code, message);
            assert!(said.contains(expected), "{code} {message}: {said}");
        }
    }

    #[test]
    fn silence_is_told_with_who_may_be_missing() {
        let table = [
            (Open::Unseen, "has not shown the request"),
            (Open::Unanswered, "is cert-manager running, and an approver for this issuer?"),
            (Open::Approved, "is the controller running that signs for Pool.ca.example.org ours?"),
            (Open::Pending("no Secret".to_owned()), "Pool.ca.example.org ours is not ready: no Secret"),
        ];
        for (state, expected) in table {
            let error = of_silence(&state, None, &options());
            assert!(matches!(error, IssuerError::Unavailable { .. }), "{error:?}");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
