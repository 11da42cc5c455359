// The smallest HTTPS server that does what the program's small GET does, on the official agent's HTTP stack: check the
// bearer token, answer bytes from memory.
package main

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

// Arguments: address, certificate file, key file, token, file with the answer.
func main() {
	want := []byte("Bearer " + os.Args[4])
	body, err := os.ReadFile(os.Args[5])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening")
	answer := func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			http.Error(w, "invalid session token", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	}
	// wrk leaves without a word, which Go would report each time.
	silent := log.New(io.Discard, "", 0)
	server := http.Server{Handler: http.HandlerFunc(answer), ErrorLog: silent}
	err = server.ServeTLS(listener, os.Args[2], os.Args[3])
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
