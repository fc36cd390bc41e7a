//! Probes of containers: how they are asked, and what the answers mean.
//!
//! They are asked from inside the pod's own network, past its proxy. A pod with a
//! proxy is asked on the loopback address, where the proxy finds its application.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use osm_k8s::manifest::{Container, HttpGetAction, IntOrString, Probe};

use super::plan::PodPlan;
use super::process::Launch;
use super::{http, netns};

/// What the last answers of a probe mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    successes: u32,
    failures: u32,
    /// How many answers of the same kind in a row change the verdict.
    needed: (u32, u32),
    good: bool,
}

impl Verdict {
    /// The verdict before the first answer: not good, or, for a probe that asks
    /// whether something still lives, good.
    #[must_use]
    pub fn new(probe: &Probe, good: bool) -> Self {
        Self { successes: 0, failures: 0, needed: (probe.successes(), probe.failures()), good }
    }

    /// Takes an answer in. Returns the verdict.
    pub fn on(&mut self, success: bool) -> bool {
        if success {
            (self.successes, self.failures) = (self.successes.saturating_add(1), 0);
            self.good |= self.successes >= self.needed.0;
        } else {
            (self.successes, self.failures) = (0, self.failures.saturating_add(1));
            self.good &= self.failures < self.needed.1;
        }
        self.good
    }
}

/// Where and how a container is asked.
#[derive(Debug)]
pub struct Target<'a> {
    /// The pod.
    pub pod: &'a PodPlan,
    /// The container.
    pub container: &'a Container,
    /// How a program is run in the container; its command is replaced.
    pub launch: &'a Launch,
    /// How many words of the launch stand before the command.
    pub prefix: usize,
}

impl Target<'_> {
    /// Asks once.
    ///
    /// # Errors
    /// When the answer is not a success; the text says why.
    pub async fn ask(&self, probe: &Probe) -> Result<()> {
        let timeout = Duration::from_secs(probe.timeout().into());
        let asked = async {
            if let Some(action) = &probe.http_get {
                self.ask_http(action, timeout).await
            } else if let Some(action) = &probe.tcp_socket {
                let address = SocketAddr::new(self.address(None)?, self.port(&action.port)?);
                netns::connect(&self.pod.file_name(), address, timeout).await?;
                Ok(())
            } else if let Some(action) = &probe.exec {
                self.ask_program(&action.command).await
            } else {
                // A kind of probe that is not read counts as good: the container runs.
                Ok(())
            }
        };
        tokio::time::timeout(timeout, asked).await.context("no answer in time")?
    }

    async fn ask_http(&self, action: &HttpGetAction, timeout: Duration) -> Result<()> {
        let address = SocketAddr::new(self.address(action.host.as_deref())?, self.port(&action.port)?);
        let stream = netns::connect(&self.pod.file_name(), address, timeout).await?;
        if action.scheme.eq_ignore_ascii_case("https") {
            // That it accepts connections is all that is asked of it.
            return Ok(());
        }
        let headers = [("user-agent".to_owned(), "osm-local-probe".to_owned())].into();
        let path = match action.path.as_str() {
            path if path.starts_with('/') => path.to_owned(),
            path => format!("/{path}"),
        };
        let request = http::request("GET", &path, &address.to_string(), &headers)?;
        let status = http::exchange(stream, request).await?.status().as_u16();
        if !(200..400).contains(&status) {
            bail!("status {status}");
        }
        Ok(())
    }

    async fn ask_program(&self, command: &[String]) -> Result<()> {
        let mut launch = self.launch.clone();
        launch.command.truncate(self.prefix);
        launch.command.extend_from_slice(command);
        let how = launch.start()?.ended().await;
        if how != "exit status 0" {
            bail!("{how}");
        }
        Ok(())
    }

    fn address(&self, host: Option<&str>) -> Result<IpAddr> {
        match host {
            Some(host) => host.parse().with_context(|| format!("the host `{host}` is not an IP address")),
            None if self.pod.has_proxy => Ok(Ipv4Addr::LOCALHOST.into()),
            None => Ok(self.pod.address.into()),
        }
    }

    fn port(&self, port: &IntOrString) -> Result<u16> {
        let number = self.container.port_number(port).map(NonZeroU16::get);
        number.with_context(|| format!("the container has no port {port:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(successes: u32, failures: u32, good: bool, answers: &[bool]) -> Vec<bool> {
        let probe: Probe = serde_json::from_value(
            serde_json::json!({ "successThreshold": successes, "failureThreshold": failures }),
        )
        .expect("a probe");
        let mut verdict = Verdict::new(&probe, good);
        answers.iter().map(|answer| verdict.on(*answer)).collect()
    }

    #[test]
    fn so_many_answers_in_a_row_change_the_verdict() {
        let (yes, no) = (true, false);
        assert_eq!(
            verdict(1, 3, no, &[no, yes, no, no, yes, no, no, no, yes]),
            [no, yes, yes, yes, yes, yes, yes, no, yes]
        );
        assert_eq!(verdict(2, 1, no, &[yes, no, yes, yes, no]), [no, no, no, yes, no]);
        assert_eq!(verdict(1, 2, yes, &[no, yes, no, no]), [yes, yes, yes, no]);
    }
}
