//! The root of the mesh out of its Secret, which the first controller makes.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use osm_certs::in_process::InProcessCa;
use osm_core::name::{NamespaceName, ObjectName};
use osm_k8s::ApiClient;
use osm_k8s::authority::{self, RootSecretError, RootText};
use tokio::time::{Instant, sleep, timeout_at};

/// How long the API server is asked for the root before this gives up: in two minutes, one has
/// started anew. The chart's startup probe waits longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// How long is waited between two questions.
const PAUSE: Duration = Duration::from_secs(2);

/// The authority whose root is in this Secret.
///
/// # Errors
/// When the API server can't be asked within this time or refuses, and when what is
/// in the Secret is not to be used.
pub async fn open(
    server: &ApiClient,
    namespace: &NamespaceName,
    name: &ObjectName,
    within: Duration,
) -> Result<Arc<InProcessCa>> {
    let fresh = InProcessCa::ephemeral().context("making a root key")?;
    let key = fresh.root_key().context("writing down a root key")?;
    let (fresh, key) = (&fresh, &key);
    let ask = || {
        let made = || RootText { certificate: fresh.root().pem().to_owned(), key: key.pem().to_owned() };
        authority::create_or_load(server, namespace, name, made)
    };
    let asked = until(Instant::now() + within, ask, RootSecretError::may_pass).await;
    let text = asked.context("the mesh's certificate authority")?;
    let place = format!("Secret {namespace}/{name}");
    let authority = InProcessCa::from_pem(&text.certificate, &text.key, &place)
        .context("the mesh's certificate authority")?;
    tracing::info!(secret = %place, "the certificate authority's root was loaded");
    Ok(Arc::new(authority))
}

/// The authority whose root is in this Secret, which is there already.
///
/// # Errors
/// When it is not, when the API server can't be asked, and when what is in it is not to be used.
pub async fn find(
    server: &ApiClient,
    namespace: &NamespaceName,
    name: &ObjectName,
) -> Result<Arc<InProcessCa>> {
    let place = format!("Secret {namespace}/{name}");
    let text = authority::load(server, namespace, name).await?;
    let text = text.with_context(|| {
        format!("{place} is gone, and certificates of its root are in use: restore it from a copy")
    })?;
    let authority = InProcessCa::from_pem(&text.certificate, &text.key, &place)?;
    Ok(Arc::new(authority))
}

/// Asks again and again until there is an answer, or an error that does not pass by itself. At the
/// deadline the last error is the answer, however long that question has been open.
async fn until<T, E: Error + Send + Sync + 'static, F: Future<Output = Result<T, E>>>(
    deadline: Instant,
    mut ask: impl FnMut() -> F,
    may_pass: impl Fn(&E) -> bool,
) -> Result<T> {
    let mut last: Option<E> = None;
    loop {
        match timeout_at(deadline, ask()).await {
            Ok(Err(error)) if may_pass(&error) && Instant::now() + PAUSE < deadline => {
                let shown: &(dyn Error + 'static) = &error;
                tracing::warn!(error = shown, "the root of the mesh is waited for");
                last = Some(error);
            }
            Ok(answer) => return Ok(answer?),
            Err(_) => {
                return Err(
                    last.map_or_else(|| anyhow!("the API server has not answered in time"), Into::into)
                );
            }
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[derive(Debug, PartialEq, thiserror::Error)]
    enum Failed {
        #[error("it is away")]
        Passing,
        #[error("it refuses")]
        Lasting,
    }

    /// What comes of asking, with this much time, and how often was asked.
    async fn asked(within: Duration, answers: Vec<Option<Result<u8, Failed>>>) -> (Result<u8>, usize) {
        let (mut answers, mut count) = (answers.into_iter(), 0);
        let ask = || {
            count += 1;
            let answer = answers.next().flatten();
            async move {
                match answer {
                    Some(answer) => answer,
                    None => pending().await,
                }
            }
        };
        let answer = until(Instant::now() + within, ask, |error| *error == Failed::Passing).await;
        (answer, count)
    }

    #[tokio::test]
    async fn what_may_pass_is_asked_again_and_what_lasts_is_not() {
        let (answer, count) = asked(DEADLINE, vec![Some(Err(Failed::Passing)), Some(Ok(7))]).await;
        assert_eq!((answer.expect("an answer"), count), (7, 2));
        let (answer, count) = asked(DEADLINE, vec![Some(Err(Failed::Lasting))]).await;
        assert_eq!((answer.expect_err("a refusal").to_string().as_str(), count), ("it refuses", 1));
    }

    #[tokio::test]
    async fn a_question_that_nobody_answers_ends_at_the_deadline_of_all() {
        let begun = Instant::now();
        let (answer, count) = asked(PAUSE * 2, vec![Some(Err(Failed::Passing)), None]).await;
        assert_eq!((answer.expect_err("nothing").to_string().as_str(), count), ("it is away", 2));
        assert!(begun.elapsed() < PAUSE * 4);
        let (answer, _) = asked(Duration::from_millis(10), vec![None]).await;
        assert!(answer.expect_err("nothing").to_string().contains("has not answered"));
        let (_, count) = asked(PAUSE / 2, vec![Some(Err(Failed::Passing))]).await;
        assert_eq!(count, 1, "there is no time for another");
    }
}
