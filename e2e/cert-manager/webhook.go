package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apply "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	config "github.com/cert-manager/cert-manager/internal/apis/config/webhook"
	"github.com/cert-manager/cert-manager/internal/webhook"
	"github.com/cert-manager/cert-manager/pkg/webhook/admission"
)

// The name of both registrations, and of who writes them.
const name = "cert-manager-webhook"

// admit serves cert-manager's checks of its objects on a listener, and has the API server ask it. A registration that
// outlives the process would refuse every object, so the API server has to be the test's own.
func admit(ctx context.Context, group *errgroup.Group, listener net.Listener, client kubernetes.Interface, kubeconfig string) error {
	checks, err := webhook.NewCertManagerWebhookServer(klog.Background(), config.WebhookConfiguration{KubeConfig: kubeconfig})
	if err != nil {
		return err
	}
	identity, authority, err := selfSigned(listener.Addr().(*net.TCPAddr).IP)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /mutate", admission.NewCustomMutationWebhook(checks.MutationWebhook))
	mux.Handle("POST /validate", admission.NewCustomValidationWebhook(checks.ResourceScheme, checks.ValidationWebhook))
	server := &http.Server{
		Handler:           mux,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{identity}, MinVersion: tls.VersionTLS13},
		ReadHeaderTimeout: time.Minute,
	}
	group.Go(func() error {
		if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return register(ctx, client, "https://"+listener.Addr().String(), authority)
}

func register(ctx context.Context, client kubernetes.Interface, server string, authority []byte) error {
	at := func(path string) *apply.WebhookClientConfigApplyConfiguration {
		return apply.WebhookClientConfig().WithURL(server + path).WithCABundle(authority...)
	}
	of := func(resource string, when ...admissionv1.OperationType) *apply.RuleWithOperationsApplyConfiguration {
		rule := apply.RuleWithOperations().WithAPIVersions("v1").WithResources(resource).WithOperations(when...)
		return rule.WithAPIGroups("cert-manager.io")
	}
	options := metav1.ApplyOptions{FieldManager: name, Force: true}
	registrations := client.AdmissionregistrationV1()

	// It notes in a request who made it.
	mutating := apply.MutatingWebhook().WithName("webhook.cert-manager.io").WithClientConfig(at("/mutate")).
		WithRules(of("certificaterequests", admissionv1.Create)).
		WithSideEffects(admissionv1.SideEffectClassNone).WithAdmissionReviewVersions("v1")
	mutation := apply.MutatingWebhookConfiguration(name).WithWebhooks(mutating)
	if _, err := registrations.MutatingWebhookConfigurations().Apply(ctx, mutation, options); err != nil {
		return err
	}
	validating := apply.ValidatingWebhook().WithName("webhook.cert-manager.io").WithClientConfig(at("/validate")).
		WithRules(of("*/*", admissionv1.Create, admissionv1.Update)).
		WithSideEffects(admissionv1.SideEffectClassNone).WithAdmissionReviewVersions("v1")
	validation := apply.ValidatingWebhookConfiguration(name).WithWebhooks(validating)
	_, err := registrations.ValidatingWebhookConfigurations().Apply(ctx, validation, options)
	return err
}

// selfSigned makes a key and a certificate for an address, and that certificate again as PEM.
func selfSigned(address net.IP) (tls.Certificate, []byte, error) {
	var key crypto.Signer
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	now := time.Now()
	template := x509.Certificate{
		SerialNumber: big.NewInt(1),
		IPAddresses:  []net.IP{address},
		NotBefore:    now.Add(-time.Minute),
		NotAfter:     now.Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	block := pem.Block{Type: "CERTIFICATE", Bytes: der}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&block), nil
}
