// Keeps what the program keeps, by the official agent's mechanism: shared informers of client-go over the same
// resources, and a map of node, namespace and pod to services. A peer of the benchmark, in time and memory.
package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	discovery "k8s.io/api/discovery/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

type pod struct{ node, namespace, name string }

// mapper holds the pods of each slice and the number of slices that put a pod behind a service.
type mapper struct {
	mutex    sync.Mutex
	slices   map[string][]pod
	services map[pod]map[string]int
}

func (m *mapper) remove(key, service string) {
	for _, p := range m.slices[key] {
		if m.services[p][service]--; m.services[p][service] == 0 {
			delete(m.services[p], service)
		}
		if len(m.services[p]) == 0 {
			delete(m.services, p)
		}
	}
	delete(m.slices, key)
}

func (m *mapper) set(object any) {
	slice := object.(*discovery.EndpointSlice)
	service := slice.Labels[discovery.LabelServiceName]
	key := slice.Namespace + "/" + slice.Name
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.remove(key, service)
	for _, endpoint := range slice.Endpoints {
		target := endpoint.TargetRef
		if target == nil || target.Kind != "Pod" || endpoint.NodeName == nil {
			continue
		}
		p := pod{*endpoint.NodeName, target.Namespace, target.Name}
		m.slices[key] = append(m.slices[key], p)
		if m.services[p] == nil {
			m.services[p] = map[string]int{}
		}
		m.services[p][service]++
	}
}

func (m *mapper) drop(object any) {
	if gone, unknown := object.(cache.DeletedFinalStateUnknown); unknown {
		object = gone.Obj
	}
	slice := object.(*discovery.EndpointSlice)
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.remove(slice.Namespace+"/"+slice.Name, slice.Labels[discovery.LabelServiceName])
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
	m := &mapper{slices: map[string][]pod{}, services: map[pod]map[string]int{}}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    m.set,
		UpdateFunc: func(_, object any) { m.set(object) },
		DeleteFunc: m.drop,
	}
	if _, err := factory.Discovery().V1().EndpointSlices().Informer().AddEventHandler(handler); err != nil {
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
