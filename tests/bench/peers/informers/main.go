// Keeps what the program keeps, by the official agent's mechanism: shared informers of client-go over the same
// resources, and a map of node, namespace and pod to services. A peer of the benchmark, in time and memory.
package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

type pod struct{ node, namespace, name string }

// mapper holds the pods behind each service, and the services of each pod.
type mapper struct {
	mutex    sync.Mutex
	pods     map[string][]pod
	services map[pod]map[string]bool
}

func (m *mapper) remove(namespace, service string) {
	key := namespace + "/" + service
	for _, p := range m.pods[key] {
		if delete(m.services[p], service); len(m.services[p]) == 0 {
			delete(m.services, p)
		}
	}
	delete(m.pods, key)
}

func (m *mapper) set(object any) {
	endpoints := object.(*core.Endpoints)
	key := endpoints.Namespace + "/" + endpoints.Name
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.remove(endpoints.Namespace, endpoints.Name)
	for _, subset := range endpoints.Subsets {
		for _, address := range append(subset.Addresses, subset.NotReadyAddresses...) {
			target := address.TargetRef
			if target == nil || target.Kind != "Pod" || address.NodeName == nil {
				continue
			}
			p := pod{*address.NodeName, target.Namespace, target.Name}
			m.pods[key] = append(m.pods[key], p)
			if m.services[p] == nil {
				m.services[p] = map[string]bool{}
			}
			m.services[p][endpoints.Name] = true
		}
	}
}

func (m *mapper) drop(object any) {
	if gone, unknown := object.(cache.DeletedFinalStateUnknown); unknown {
		object = gone.Obj
	}
	endpoints := object.(*core.Endpoints)
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.remove(endpoints.Namespace, endpoints.Name)
}

func main() {
	start := time.Now()
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	config.ContentType = "application/json"
	config.QPS, config.Burst = 1000, 1000
	factory := informers.NewSharedInformerFactory(kubernetes.NewForConfigOrDie(config), 0)
	m := &mapper{pods: map[string][]pod{}, services: map[pod]map[string]bool{}}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    m.set,
		UpdateFunc: func(_, object any) { m.set(object) },
		DeleteFunc: m.drop,
	}
	if _, err := factory.Core().V1().Endpoints().Informer().AddEventHandler(handler); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	factory.Core().V1().Nodes().Informer()
	factory.Core().V1().Namespaces().Informer()
	factory.Start(context.Background().Done())
	factory.WaitForCacheSync(context.Background().Done())
	fmt.Printf("synced %d\n", time.Since(start).Microseconds())
	select {}
}
