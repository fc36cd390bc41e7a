// The cert-manager for tests of the mesh's issuer on it: its own controllers and webhook in one process beside an
// API server that has nothing else. It says `ready` on standard output when it is, and ends when standard input does,
// so that it never outlives its test. Issuers of the kinds CA and SelfSigned are all that it has.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/cert-manager/cert-manager/pkg/controller"
	"github.com/cert-manager/cert-manager/pkg/logs"

	// Controllers make themselves known when they are imported.
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	requestsca "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	requestsselfsigned "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	"github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	"github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
)

// What is run, besides the approver: whatever else came in with an import is left out.
var controllers = []string{
	requestsca.CRControllerName,
	requestsselfsigned.CRControllerName,
	issuing.ControllerName,
	keymanager.ControllerName,
	readiness.ControllerName,
	requestmanager.ControllerName,
	revisionmanager.ControllerName,
	trigger.ControllerName,
	clusterissuers.ControllerName,
	issuers.ControllerName,
}

// How many objects each controller works on at once.
const workers = 4

type arguments struct {
	kubeconfig string
	secrets    string
	listen     string
	approve    bool
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("cert-manager: ")
	var given arguments
	// A library has taken some of these names in the set that all share.
	flags := flag.NewFlagSet("cert-manager", flag.ExitOnError)
	flags.StringVar(&given.kubeconfig, "kubeconfig", "", "of the API server")
	flags.StringVar(&given.secrets, "secrets", "cert-manager", "namespace of the Secrets of ClusterIssuers")
	flags.StringVar(&given.listen, "listen", "127.0.0.1", "address at which the API server finds the webhook")
	flags.BoolVar(&given.approve, "approve", true, "approve every request, as an installation does unless it is told otherwise")
	if err := flags.Parse(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
	ctx, end := context.WithCancel(logs.NewContext(context.Background(), klog.Background()))
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		end()
	}()
	if err := run(ctx, given); err != nil {
		log.Fatal(err)
	}
}

// run serves until the context ends or a part fails.
func run(ctx context.Context, given arguments) error {
	factory, err := controller.NewContextFactory(ctx, controller.ContextOptions{
		Kubeconfig:         given.kubeconfig,
		KubernetesAPIQPS:   1000,
		KubernetesAPIBurst: 1000,
		IssuerOptions:      controller.IssuerOptions{ClusterResourceNamespace: given.secrets},
	})
	if err != nil {
		return fmt.Errorf("the API server cannot be asked: %w", err)
	}
	shared, err := factory.Build()
	if err != nil {
		return fmt.Errorf("the parts of the controllers: %w", err)
	}

	group, ctx := errgroup.WithContext(ctx)
	listener, err := net.Listen("tcp", net.JoinHostPort(given.listen, "0"))
	if err != nil {
		return err
	}
	if err := admit(ctx, group, listener, shared.Client, given.kubeconfig); err != nil {
		return fmt.Errorf("the webhook: %w", err)
	}

	names := slices.Clone(controllers)
	if given.approve {
		names = append(names, approver.ControllerName)
	}
	// Each asks for what it wants to be told of while it is built, and that is begun once.
	built := make([]controller.Interface, len(names))
	for i, name := range names {
		if built[i], err = controller.Known()[name](factory); err != nil {
			return fmt.Errorf("controller %s: %w", name, err)
		}
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	for i := range built {
		group.Go(func() error { return built[i].Run(workers, ctx) })
	}
	fmt.Println("ready")
	return group.Wait()
}
