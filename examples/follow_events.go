// Follows public events: go run follow_events.go DATA_FOLDER READER
// Needs github.com/nats-io/nats.go, 1.22 or later.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
)

func read(into any, path string) {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	data, name := os.Args[1], os.Args[2]
	var run struct {
		URL string `json:"nats_url"`
	}
	var login struct{ User, Password string }
	read(&run, filepath.Join(data, "run.json"))
	read(&login, filepath.Join(data, "secrets", "nats-reader_"+name+".json"))
	client, err := nats.Connect(run.URL, nats.UserInfo(login.User, login.Password),
		nats.CustomInboxPrefix("_INBOX_reader_"+name))
	if err != nil {
		log.Fatal(err)
	}
	stream, err := client.JetStream()
	if err != nil {
		log.Fatal(err)
	}
	pull, err := stream.PullSubscribe("", "reader_"+name, nats.Bind("PUB_a0", "reader_"+name))
	if err != nil {
		log.Fatal(err)
	}
	for {
		events, err := pull.Fetch(100, nats.MaxWait(5*time.Second))
		if err != nil && !errors.Is(err, nats.ErrTimeout) {
			log.Fatal(err)
		}
		for _, event := range events {
			fmt.Println(event.Header.Get("ce-type"), event.Header.Get("ce-subject"), string(event.Data))
			if err := event.Ack(); err != nil {
				log.Fatal(err)
			}
		}
	}
}
