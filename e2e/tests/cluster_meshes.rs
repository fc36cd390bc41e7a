//! Two meshes in one real cluster: each has its own namespaces, root and proxies, and one of
//! them can go while the other carries on.

use anyhow::{Context, Result, bail};

use osm_e2e::cluster::calls::Caller;
use osm_e2e::cluster::inventory::Inventory;
use osm_e2e::cluster::mesh::osm;
use osm_e2e::cluster::{server, tidy_up};
use osm_e2e::kubectl::{apply, delete, get, kubectl, rolled_out, told_by, until};

/// A mesh with one namespace of applications, `NAME-shop`.
#[derive(Debug)]
struct Mesh(&'static str);

const BLUE: Mesh = Mesh("blue");
const GREEN: Mesh = Mesh("green");

impl Mesh {
    fn control_plane(&self) -> String {
        format!("osm-{}", self.0)
    }

    fn shop(&self) -> String {
        format!("{}-shop", self.0)
    }

    fn manifests(&self) -> String {
        let shop = self.shop();
        let service = format!(
            "
apiVersion: v1
kind: Service
metadata: {{name: shop, namespace: {shop}}}
spec:
  selector: {{app: shop}}
  ports: [{{name: http, port: 8080, appProtocol: http}}]
"
        );
        [server::namespace(&shop, Some(self.0)), service, server::deployment(&shop, "shop", self.0)]
            .join("---")
    }

    fn install(&self) -> Result<()> {
        let namespace = self.control_plane();
        let mesh = ["install", "--mesh-name", self.0, "--osm-namespace", &namespace, "--timeout=120s"];
        let values = [
            "--enforce-single-mesh=false",
            "--set=osm.image.tag=dev",
            "--set=osm.sidecarImage=osm-sidecar:dev",
            "--set=osm.enablePermissiveTrafficPolicy=true",
            "--set=osm.enableEgress=false",
        ];
        osm(&[mesh.as_slice(), &values].concat())?;
        apply(&self.manifests())?;
        rolled_out(&self.shop(), &["deployment/shop"])
    }

    fn uninstall(&self) -> Result<()> {
        let namespace = self.control_plane();
        let mesh = ["uninstall", "mesh", "--mesh-name", self.0, "--osm-namespace", &namespace];
        let all = ["--force", "--delete-cluster-wide-resources", "--delete-namespace"];
        let uninstall = || osm(&[mesh.as_slice(), &all].concat()).map(drop);
        // All of it, whatever fails.
        let removed = [delete(&self.manifests()), uninstall()];
        removed.into_iter().collect()
    }

    /// What comes of 20 requests from its application to that of a mesh, each outcome once.
    fn calls(&self, to: &Self) -> Result<String> {
        let call = format!("20 times GET shop.{}:8080/", to.shop());
        let caller = Caller { namespace: &self.shop(), pod: &self.pod()?, container: "serves" };
        Ok(caller.make(&[&call])?.join(" | "))
    }

    /// How many proxies its control plane has, by its own count.
    fn proxies(&self) -> Result<String> {
        let pods = get(&["pods", "--namespace", &self.control_plane()])?;
        let pod = pods["items"][0]["metadata"]["name"].as_str().context("a pod")?.to_owned();
        let page = format!("/api/v1/namespaces/{}/pods/{pod}:9091/proxy/metrics", self.control_plane());
        let page = kubectl(&["get", "--raw", &page])?;
        let streams =
            page.lines().filter_map(|line| line.strip_prefix("osm_xds_streams{dialect=\"delta\"} "));
        Ok(streams.collect())
    }

    /// What its application's proxy answers to a question about itself.
    fn proxy_says(&self, what: &str) -> Result<String> {
        osm(&["proxy", "get", what, &self.pod()?, "--namespace", &self.shop()])
    }

    fn pod(&self) -> Result<String> {
        let pods = get(&["pods", "--namespace", &self.shop()])?;
        pods["items"][0]["metadata"]["name"].as_str().context("a pod").map(str::to_owned)
    }
}

fn is(what: &str, found: &str, expected: &str) -> Result<()> {
    println!("{what}: {found}");
    match found == expected {
        true => Ok(()),
        false => bail!("{what}: {found} instead of {expected}"),
    }
}

fn two_meshes() -> Result<()> {
    tidy_up()?;
    let before = Inventory::take()?;
    BLUE.install()?;
    GREEN.install()?;
    // That a pod is ready is known everywhere a little later.
    until("call within blue", || is("blue calls blue", &BLUE.calls(&BLUE)?, "200 blue"))?;
    until("call within green", || is("green calls green", &GREEN.calls(&GREEN)?, "200 green"))?;
    for (from, to) in [(&BLUE, &GREEN), (&GREEN, &BLUE)] {
        let outcome = from.calls(to)?;
        println!("{} calls {}: {outcome}", from.0, to.0);
        if outcome.contains("200") {
            bail!("a call from {} to {} is answered", from.0, to.0);
        }
        is(&format!("proxies of {}", from.0), &from.proxies()?, "1")?;
        let identity = format!("/{}\"", from.shop());
        if !from.proxy_says("certs")?.contains(&identity) || from.proxy_says("clusters")?.contains(&to.shop())
        {
            bail!("the proxy of {} has another identity, or knows {}", from.0, to.0);
        }
    }
    let root = |mesh: &Mesh| {
        let namespace = mesh.shop();
        get(&["configmap", "osm-trust-bundle", "--namespace", &namespace]).map(|map| map["data"].clone())
    };
    if root(&BLUE)? == root(&GREEN)? {
        bail!("the meshes have one root");
    }
    BLUE.uninstall()?;
    is("green calls green when blue is gone", &GREEN.calls(&GREEN)?, "200 green")?;
    // It takes part in what is new still.
    kubectl(&["scale", "--namespace=green-shop", "deployment/shop", "--replicas=2"])?;
    rolled_out("green-shop", &["deployment/shop"])?;
    until("second proxy", || is("proxies of green", &GREEN.proxies()?, "2"))?;
    GREEN.uninstall()?;
    println!("{}", before.compare()?);
    Ok(())
}

#[test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
fn two_meshes_live_side_by_side_and_one_can_go() {
    if let Err(error) = two_meshes() {
        let told = told_by(&["osm-blue", "osm-green", "blue-shop", "green-shop"]);
        for mesh in [BLUE, GREEN] {
            // Either may not be there.
            if let Err(error) = mesh.uninstall() {
                eprintln!("{} could not be uninstalled: {error:#}", mesh.0);
            }
        }
        panic!("{error:?}\n\n{told}");
    }
}
