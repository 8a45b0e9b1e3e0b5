// Enforces NetworkPolicies on one node: kube-router's policy controller as a library, without its router and its proxy. What
// else kube-router consists of would take most of the time of its build.
//
// It writes rules of iptables and sets of ipset into the network namespace in which it runs.
package main

import (
	"errors"
	"flag"
	"fmt"
	"sync"
	"time"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// How long the node's object may take to appear.
const patience = 2 * time.Minute

func main() {
	kubeconfig := flag.String("kubeconfig", "", "file with the address of the API server and credentials")
	node := flag.String("node", "", "name of the node whose pods are protected")
	services := flag.String("service-cluster-ip-range", "", "addresses of Services")
	flag.Parse()
	if err := run(*kubeconfig, *node, *services); err != nil {
		klog.Fatal(err)
	}
}

func run(kubeconfig, node, services string) error {
	access, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(access)
	if err != nil {
		return err
	}
	forever := make(chan struct{})
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	namespaces := factory.Core().V1().Namespaces().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	factory.Start(forever)
	if !cache.WaitForCacheSync(forever, pods.HasSynced, namespaces.HasSynced, policies.HasSynced) {
		return errors.New("the watches have ended")
	}

	config := options.NewKubeRouterConfig()
	config.EnableIPv4 = true
	config.HostnameOverride = node
	config.ClusterIPCIDRs = []string{services}
	controller, err := create(client, config, pods, policies, namespaces)
	if err != nil {
		return err
	}
	for _, watched := range []struct {
		informer cache.SharedIndexInformer
		handler  cache.ResourceEventHandler
	}{
		{pods, controller.PodEventHandler},
		{namespaces, controller.NamespaceEventHandler},
		{policies, controller.NetworkPolicyEventHandler},
	} {
		if _, err := watched.informer.AddEventHandler(watched.handler); err != nil {
			return err
		}
	}
	// Nobody asks for the controller's health, but it waits until a heartbeat is taken.
	heartbeats := make(chan *healthcheck.ControllerHeartbeat)
	go func() {
		for range heartbeats {
		}
	}()
	var running sync.WaitGroup
	running.Add(1)
	controller.Run(heartbeats, forever, &running)
	return errors.New("the controller has ended")
}

// create waits for the node's object, which the kubelet creates after its start.
func create(client kubernetes.Interface, config *options.KubeRouterConfig, pods, policies, namespaces cache.SharedIndexInformer,
) (*netpol.NetworkPolicyController, error) {
	tables, sets, err := netpol.NewIPTablesHandlers(config)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		controller, err := netpol.NewNetworkPolicyController(
			client, config, pods, policies, namespaces, &sync.Mutex{}, tables, sets)
		if err == nil {
			return controller, nil
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("node %s: %w", config.HostnameOverride, err)
		}
	}
}
